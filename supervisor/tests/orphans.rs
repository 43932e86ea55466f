//! Nothing the supervisor started outlives it, however it ends and however a plugin hides what it starts.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use polypeer_supervisor::home::Home;
use polypeer_supervisor::supervise::State;
use support::{Script, World, id, is_alive, marked_processes, new_home, start, until};

/// Starts a grandchild the way daemons do: two forks and a session of its own. `MARK` finds it again.
const DAEMON: &str = "python3 - <<'END' &
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir('/')
        os.execvp('sleep', ['sleep', '86400.MARK'])
    os._exit(0)
os.wait()
open(os.environ['POLYPEER_DATA'] + '/daemon', 'w').write('started\\n')
time.sleep(1000)
END
exec sleep 86400.MARK
";

fn daemon_script(mark: &str) -> Script {
    Script::new("hider", &DAEMON.replace("MARK", mark))
}

/// A text no other process has: part of a number of seconds to sleep.
fn mark() -> String {
    format!("{:09}", getrandom::u32().expect("random") % 1_000_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn daemonised_grandchild_dies_when_its_plugin_stops() {
    let mark = mark();
    let world = World::start(&[daemon_script(&mark)]).await;
    world.file("hider", "daemon").await;
    let sleeper = format!("86400.{mark}");
    until("both sleep", || marked_processes(&sleeper).len() >= 2).await;
    world.supervisor.stop_plugin(id("hider")).await.expect("it stops");
    assert_eq!(marked_processes(&sleeper), Vec::<i32>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemonised_grandchild_dies_with_a_plugin_that_crashes() {
    let mark = mark();
    let world = World::start(&[daemon_script(&mark)]).await;
    world.file("hider", "daemon").await;
    let pid = world.reaches("hider", State::Ready).await.pid.expect("it runs");
    let before = marked_processes(&format!("86400.{mark}"));
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is there");
    until("all of the old one is gone", || !before.iter().any(|pid| is_alive(*pid))).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_every_handle_takes_everything_down() {
    let mark = mark();
    let world = World::start(&[daemon_script(&mark)]).await;
    world.file("hider", "daemon").await;
    drop(world.supervisor);
    world.exit.await.expect("the task ends in order");
    assert_eq!(marked_processes(&format!("86400.{mark}")), Vec::<i32>::new());
    assert_eq!(groups_of(&world.home), Vec::<String>::new());
}

/// Folders in control group hierarchies that belong to a home.
fn groups_of(home: &Home) -> Vec<String> {
    let root = std::fs::canonicalize(home.root()).expect("there");
    let tag = &blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex()[..16];
    let mut found = Vec::new();
    let mut ahead = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == format!("polypeer-{tag}") {
                    found.push(entry.path().display().to_string());
                }
                ahead.push(entry.path());
            }
        }
    }
    found
}

/// A daemon in a process of its own, to be killed: this test program again, as [`daemon_of_its_own`].
fn daemon(home: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program)
        .args(["--exact", "daemon_of_its_own", "--ignored", "--nocapture"])
        .env("TEST_HOME", home)
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests, in a process of its own"]
async fn daemon_of_its_own() {
    let home = Home::at(std::env::var_os("TEST_HOME").expect("set by the test that runs it"));
    let mark = std::fs::read_to_string(home.root().join("mark")).expect("written by the test");
    let spec = daemon_script(&mark).install(&home);
    let (_supervisor, exit) = start(&home, vec![spec]).await.expect("it starts");
    exit.await.expect("never, as it is killed");
}

struct Daemon {
    _folder: tempfile::TempDir,
    home: Home,
    mark: String,
    process: Child,
}

impl Daemon {
    async fn start() -> Self {
        let (folder, home) = new_home();
        let mark = mark();
        std::fs::write(home.root().join("mark"), &mark).expect("writable");
        let process = daemon(home.root());
        let daemon = Self { _folder: folder, home, mark, process };
        daemon.is_up().await;
        daemon
    }

    async fn is_up(&self) {
        let started = self.home.data(&id("hider")).join("daemon");
        until("the plugin hid something", || started.exists() && self.sleepers().len() >= 2).await;
    }

    fn sleepers(&self) -> Vec<i32> {
        marked_processes(&format!("86400.{}", self.mark))
    }

    /// Everything that has to do with this home: netcore, the reaper, what plugins started.
    fn everything(&self) -> Vec<i32> {
        let mut all = marked_processes(&self.home.root().display().to_string());
        all.extend(self.sleepers());
        all.retain(|pid| u32::try_from(*pid) != Ok(self.process.id()));
        all
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    fn reaper(&self) -> Option<i32> {
        let home = self.home.root().display().to_string();
        marked_processes("internal-reaper").into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&home)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_supervisor_leaves_nothing_behind_and_starts_again() {
    let mut daemon = Daemon::start().await;
    assert!(daemon.everything().len() >= 4, "the plugin, what it hid, netcore, the reaper");
    daemon.kill();
    until("nothing is left", || daemon.everything().is_empty()).await;
    until("no group is left", || groups_of(&daemon.home).is_empty()).await;
    std::fs::remove_file(daemon.home.data(&id("hider")).join("daemon")).expect("it was there");
    daemon.process = self::daemon(daemon.home.root());
    daemon.is_up().await;
    daemon.kill();
    until("nothing is left again", || daemon.everything().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_reaper_is_replaced() {
    let mut daemon = Daemon::start().await;
    let first = daemon.reaper().expect("a reaper runs");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it is there");
    until("another one runs", || daemon.reaper().is_some_and(|second| second != first)).await;
    assert!(daemon.sleepers().len() >= 2, "the plugin is undisturbed");
    daemon.kill();
    until("nothing is left", || daemon.everything().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_swept_before_anything_starts() {
    let mut daemon = Daemon::start().await;
    // Supervisor and reaper end in the same moment, and an init is stopped so that it cannot do its part.
    let inits: Vec<i32> = daemon.sleepers().iter().filter_map(|pid| parent(*pid)).collect();
    for init in &inits {
        let _ = kill(Pid::from_raw(*init), Signal::SIGSTOP);
    }
    let reaper = daemon.reaper().expect("a reaper runs");
    let supervisor = Pid::from_raw(i32::try_from(daemon.process.id()).expect("a pid fits"));
    kill(supervisor, Signal::SIGSTOP).expect("it runs");
    kill(Pid::from_raw(reaper), Signal::SIGKILL).expect("it runs");
    daemon.kill();
    let mut left = daemon.sleepers();
    left.extend(inits.iter().copied().filter(|init| is_alive(*init)));
    assert!(!left.is_empty(), "an init that is stopped cannot have ended");
    let (supervisor, exit) = start(&daemon.home, Vec::new()).await.expect("it starts");
    assert!(!left.iter().any(|pid| is_alive(*pid)), "swept before it was started");
    supervisor.shutdown(std::time::Duration::from_secs(10)).await;
    exit.await.expect("it ends");
}

fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.get(text.rfind(')')? + 4..)?.split(' ').next()?.parse().ok()
}
