//! `polypeer internal-reaper`: a process that kills what outlives the supervisor. It holds a pipe from the supervisor.
//! When the pipe ends, for whatever reason, it kills every control group of the home; without control groups, every
//! process with the home's mark in its environment. [`sweep`] does the same at the daemon's start, in case supervisor
//! and reaper were both killed.

use std::ffi::{CStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;

use crate::limits::cgroup::kill::{KILL_TIME, kill_below, remove_below};
use crate::process::init::SUBCOMMAND as INIT;

/// The hidden subcommand of `polypeer`.
pub const SUBCOMMAND: &str = "internal-reaper";
/// What `ps` calls it, and its name for the kernel, at most 15 bytes.
const TITLE: &str = "polypeer: reaper";
const NAME: &CStr = c"polypeer-reaper";
/// Pause before an ended reaper is restarted, so that one that cannot run does not overload the machine.
const PAUSE: Duration = Duration::from_millis(500);
/// Time limit for the reaper at an orderly end of the supervisor.
const END_TIME: Duration = Duration::from_secs(5);

/// What to kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The home's folders in the control group hierarchies.
    pub roots: Vec<PathBuf>,
    /// The folder of the home's gateway sockets. Where `roots` is empty, every process is killed whose
    /// `POLYPEER_GATEWAY` is in it, and every init whose last argument is.
    pub gateways: PathBuf,
}

/// Runs the reaper; `arguments` are those after [`SUBCOMMAND`].
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(gateways) = arguments.next() else { return ExitCode::from(2) };
    let targets = Targets { gateways: gateways.into(), roots: arguments.map(PathBuf::from).collect() };
    // Signals for the supervisor must not end the reaper first.
    let mut ignored = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        ignored.add(signal);
    }
    let _ = ignored.thread_block();
    let _ = nix::sys::prctl::set_name(NAME);
    let _ = nix::unistd::setsid();
    let mut nothing = [0; 64];
    loop {
        match io::stdin().read(&mut nothing) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    sweep(&targets);
    for root in &targets.roots {
        remove_below(root);
    }
    ExitCode::SUCCESS
}

/// Kills everything in `targets`. Blocks, up to some seconds. Returns a text for each failure.
pub fn sweep(targets: &Targets) -> Vec<String> {
    let mut problems = Vec::new();
    for root in &targets.roots {
        if let Err(error) = kill_below(root) {
            problems.push(error.to_string());
        }
    }
    if targets.roots.is_empty() {
        let deadline = Instant::now() + KILL_TIME;
        while kill_marked(&targets.gateways) > 0 {
            if Instant::now() > deadline {
                problems.push("processes of plugins outlive SIGKILL".to_owned());
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    problems
}

/// Kills each process whose environment marks it as a plugin's of this home, and returns their number. A last resort: a
/// plugin can hide processes from it by giving them another environment.
fn kill_marked(gateways: &Path) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = 0;
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if pid != own && (is_marked(&read("environ"), gateways) || is_init(&read("cmdline"), gateways)) {
            found += usize::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
    }
    found
}

fn is_marked(environment: &[u8], gateways: &Path) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| {
        let path = variable.strip_prefix(b"POLYPEER_GATEWAY=").and_then(|path| std::str::from_utf8(path).ok());
        path.is_some_and(|path| Path::new(path).starts_with(gateways))
    })
}

/// Whether this is the command line of an init of this home: `TITLE internal-init … <folder of a gateway>`.
fn is_init(line: &[u8], gateways: &Path) -> bool {
    let mut words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).skip(1);
    let is_ours = |mark: &[u8]| std::str::from_utf8(mark).is_ok_and(|mark| Path::new(mark).starts_with(gateways));
    words.next() == Some(INIT.as_bytes()) && words.last().is_some_and(is_ours)
}

/// The supervisor's handle: keeps one reaper running. Dropping it ends the reaper, which sweeps first.
#[derive(Debug)]
pub struct Reaper {
    task: JoinHandle<()>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Reaper {
    /// Starts the reaper, and restarts it whenever it ends; must be called on the runtime.
    ///
    /// # Errors
    /// When the program `polypeer` cannot be run.
    pub fn start(polypeer: PathBuf, targets: Targets) -> io::Result<Self> {
        let (mut child, mut lifeline) = spawn(&polypeer, &targets)?;
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    status = child.wait() => {
                        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                        tracing::warn!("the reaper ended ({how}); another one is started");
                        loop {
                            tokio::time::sleep(PAUSE).await;
                            match spawn(&polypeer, &targets) {
                                Ok(next) => break (child, lifeline) = next,
                                Err(error) => tracing::error!("failed to start a reaper: {error}"),
                            }
                        }
                    }
                    _ = &mut stopped => {
                        drop(lifeline);
                        let _ = tokio::time::timeout(END_TIME, child.wait()).await;
                        return;
                    }
                }
            }
        });
        Ok(Self { task, stop })
    }

    /// Ends the reaper, after it has swept.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Starts the process. Returns its pipe separately, because waiting for a process closes its pipes.
fn spawn(
    polypeer: &Path,
    targets: &Targets,
) -> io::Result<(tokio::process::Child, Option<tokio::process::ChildStdin>)> {
    let mut command = std::process::Command::new(polypeer);
    command.arg0(TITLE).arg(SUBCOMMAND).arg(&targets.gateways).args(&targets.roots);
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    let mut child = tokio::process::Command::from(command).spawn()?;
    let lifeline = child.stdin.take();
    Ok((child, lifeline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gateways_of_this_home_mark_a_process() {
        let gateways = Path::new("/home/run/gateway");
        assert!(is_marked(b"A=1\0POLYPEER_GATEWAY=/home/run/gateway/7/gateway.sock\0", gateways));
        assert!(!is_marked(b"POLYPEER_GATEWAY=/home/run/gateways/7/gateway.sock\0", gateways));
        assert!(is_init(b"polypeer: init of chat\0internal-init\0second\0pid\0/home/run/gateway/7\0", gateways));
        assert!(!is_init(b"/proc/self/exe\0internal-init\0second\0pid\0/home2/run/gateway/7\0", gateways));
        assert!(!is_init(b"vi\0/home/run/gateway/7\0", gateways));
        assert!(!is_marked(b"XPOLYPEER_GATEWAY=/home/run/gateway/7\0", gateways));
    }
}
