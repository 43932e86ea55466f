//! Children where there is no init: started directly, watched by one task each, with the functions of the Linux
//! `watch`. No limit holds and nothing is hidden from them; each measure says so. macOS and Windows.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::capture::capture;
use super::launch::{ChildEvent, Launch};
use super::log::Sink;
use super::outcome::{Ended, Outcome};
use crate::limits::{Measure, Usage};
use crate::manifest::Limits;
use crate::manifest::limits::LIMITS;

/// Orders that may wait: one to end and one to kill.
const ORDERS: usize = 16;
/// How long a child's output is still read after its end: something it started may hold the pipe.
const END_TIME: Duration = Duration::from_secs(3);
/// Between two attempts to reach the port that says a child is ready.
const PORT_PAUSE: Duration = Duration::from_millis(100);
/// Why a limit or a measure of a plugin does not hold.
const WHY_NOT: &str = "this version confines plugins on Linux only";

/// What all children of one home share: nothing.
#[derive(Debug, Default)]
pub(crate) struct Groups;

#[derive(Debug)]
enum Command {
    Terminate,
    Kill,
}

/// A child that runs or is being started. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    commands: mpsc::Sender<Command>,
}

impl Watched {
    /// Asks it to end; where a system has no such request, it is killed.
    pub(crate) fn terminate(&self) {
        let _ = self.commands.try_send(Command::Terminate);
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        let _ = self.commands.try_send(Command::Kill);
    }

    /// Changes its limits: none holds.
    pub(crate) fn limit(&self, _limits: &Limits) -> Vec<Measure> {
        limits_missing()
    }

    /// What it uses: not known.
    pub(crate) fn usage(&self) -> impl FnOnce() -> Option<(Instant, Usage)> + Send + 'static {
        || Some((Instant::now(), Usage::default()))
    }
}

fn limits_missing() -> Vec<Measure> {
    LIMITS.iter().filter(|limit| limit.is_enforced).map(|limit| Measure::missing(limit.key, WHY_NOT)).collect()
}

/// All that a plugin is not confined by, under the names Linux has for it.
fn measures(launch: &Launch) -> Vec<Measure> {
    let mut measures = Vec::new();
    if launch.limits.is_some() {
        measures.extend(limits_missing());
    }
    if launch.isolation.process {
        measures.extend(["mount_namespace", "pid_namespace"].map(|name| Measure::missing(name, WHY_NOT)));
    }
    if launch.isolation.network {
        let why = "this version cuts plugins off from the network on Linux only: it has the host's network";
        measures.push(Measure::missing("network_namespace", why));
    }
    if !launch.setup.hidden.is_empty() {
        let why = "it can read Polypeer's own files, the node's key and the control secret among them";
        measures.push(Measure::missing("hidden_home", why));
    }
    measures.extend(system::measures());
    measures
}

/// Returns a handle to a child and the task that runs it, for the caller to spawn. `launch` prepares the launch on a
/// thread that may block; `number` is part of each of the child's events.
pub(crate) fn watch(
    launch: impl FnOnce() -> io::Result<Launch> + Send + 'static,
    _groups: Arc<Groups>,
    sink: Sink,
    events: mpsc::Sender<(u64, ChildEvent)>,
    number: u64,
) -> (Watched, impl Future<Output = ()> + Send + 'static) {
    let (sender, commands) = mpsc::channel(ORDERS);
    let task = async move {
        let started = match spawn_blocking(launch).await {
            Ok(Ok(launch)) => {
                let (measures, ready_port) = (measures(&launch), launch.setup.ready_port);
                start(launch).map(|child| (child, measures, ready_port))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("the thread that prepares it failed: {error}")),
        };
        let ended = match started {
            Ok((child, measures, ready_port)) => {
                Task { commands, events: &events, number, ready_port }.run(child, measures, sink).await
            }
            Err(reason) => Ended::not_started(reason),
        };
        let _ = events.send((number, ChildEvent::Ended(ended))).await;
    };
    (Watched { commands: sender }, task)
}

/// Starts the child, its output in pipes.
fn start(launch: Launch) -> Result<Child, String> {
    let setup = launch.setup;
    let (program, arguments) = setup.command.split_first().ok_or("the command is empty")?;
    let mut command = std::process::Command::new(located(program, &setup.folder));
    command.args(arguments).current_dir(&setup.folder).env_clear().envs(setup.environment);
    let start = || -> io::Result<Child> {
        system::connect(&mut command, launch.admin)?;
        tokio::process::Command::from(command).kill_on_drop(true).spawn()
    };
    start().map_err(|error| format!("cannot run {program}: {error}"))
}

/// A program with a separator in its name is taken from the working folder; another is looked up in `PATH`.
fn located(program: &str, folder: &Path) -> PathBuf {
    match program.contains(std::path::is_separator) {
        true => folder.join(program),
        false => program.into(),
    }
}

struct Task<'a> {
    commands: mpsc::Receiver<Command>,
    events: &'a mpsc::Sender<(u64, ChildEvent)>,
    number: u64,
    ready_port: Option<u16>,
}

impl Task<'_> {
    async fn run(mut self, mut child: Child, measures: Vec<Measure>, sink: Sink) -> Ended {
        let mut logs = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            logs.push(tokio::spawn(capture(Ok(pipe), sink.clone(), "out")));
        }
        if let Some(pipe) = child.stderr.take() {
            logs.push(tokio::spawn(capture(Ok(pipe), sink, "err")));
        }
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        self.tell(ChildEvent::Running { pid, measures }).await;
        let outcome = self.serve(&mut child).await;
        for log in logs {
            let abort = log.abort_handle();
            if timeout(END_TIME, log).await.is_err() {
                abort.abort();
            }
        }
        Ended { outcome, out_of_memory: false, memory_limit: None }
    }

    /// Until the child has ended.
    async fn serve(&mut self, child: &mut Child) -> Outcome {
        let mut answers = std::pin::pin!(answers(self.ready_port));
        let mut is_ready = false;
        let mut has_owner = true;
        loop {
            tokio::select! {
                status = child.wait() => return match status {
                    Ok(status) => system::outcome(status),
                    Err(error) => Outcome::NotStarted { reason: format!("it cannot be waited for: {error}") },
                },
                () = &mut answers, if !is_ready => {
                    is_ready = true;
                    self.tell(ChildEvent::Ready).await;
                }
                command = self.commands.recv(), if has_owner => match command {
                    Some(Command::Terminate) => system::terminate(child),
                    Some(Command::Kill) => system::kill(child),
                    // The supervisor is going, and with it everything.
                    None => {
                        has_owner = false;
                        system::kill(child);
                    }
                },
            }
        }
    }

    async fn tell(&self, event: ChildEvent) {
        let _ = self.events.send((self.number, event)).await;
    }
}

/// Until something listens on the loopback port; without one, for ever.
async fn answers(port: Option<u16>) {
    let Some(port) = port else { return std::future::pending().await };
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        tokio::time::sleep(PORT_PAUSE).await;
    }
}
