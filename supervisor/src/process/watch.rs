//! One task per child: starts it, passes orders to it and events from it, and reports its end once nothing of it is
//! left.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::capture::capture;
use super::channel::Channel;
use super::launch::{ChildEvent, Launch};
use super::log::Sink;
use super::message::{Order, Report};
use super::outcome::{Ended, Outcome};
use super::spawn::{Groups, Spawned, spawn};
use crate::limits::cgroup::Leaf;
use crate::limits::{Measure, Usage, sampled};
use crate::manifest::Limits;

/// Most queued orders: one to terminate, one to kill, and changed limits.
const ORDERS: usize = 16;
/// Interval of sampling memory, where the kernel does not account it, for a child that uses half of its limit or more,
/// …
const SAMPLE_NEAR: Duration = Duration::from_millis(250);
/// … for one that uses less, …
const SAMPLE_BELOW: Duration = Duration::from_secs(1);
/// … and for one that uses less than a quarter, which is most of them most of the time.
const SAMPLE_FAR: Duration = Duration::from_secs(2);
/// Time limit for the fork server to start an init. Milliseconds are usual, on a busy machine a second.
const BIRTH_TIME: Duration = Duration::from_secs(10);
/// Time limit for an init to end once everything in its group was killed.
const END_TIME: Duration = Duration::from_secs(3);
/// Pauses, together some 20 ms, in which an init whose socket has ended becomes a child of this process.
const ADOPTION_PAUSES: usize = 10;
/// Most measures of one init: a plugin that took over its init must not exhaust the supervisor's memory.
const MAX_MEASURES: usize = 64;

#[derive(Debug)]
enum Command {
    Terminate,
    Kill,
    /// New memory limit, bytes.
    Limit(u64),
}

/// A child that runs or is being started. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    commands: mpsc::Sender<Command>,
    facts: Arc<OnceLock<Facts>>,
}

#[derive(Debug)]
struct Facts {
    leaf: Arc<Leaf>,
    init: OnceLock<i32>,
    /// The latest sample, where its group does not account memory.
    sample: Mutex<Option<(std::time::Instant, Usage)>>,
}

impl Facts {
    /// What it uses, and when that was measured.
    fn usage(&self) -> Option<(std::time::Instant, Usage)> {
        match self.leaf.has_memory() {
            true => Some((std::time::Instant::now(), self.leaf.usage())),
            false => *self.sample.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Watched {
    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        let _ = self.commands.try_send(Command::Terminate);
    }

    /// Kills it and everything that it started.
    pub(crate) fn kill(&self) {
        let _ = self.commands.try_send(Command::Kill);
    }

    /// Changes its limits, on a thread that may block. Returns a measure per limit, or nothing while it is being
    /// started.
    pub(crate) fn limit(&self, limits: &Limits) -> Vec<Measure> {
        let _ = self.commands.try_send(Command::Limit(limits.memory_bytes));
        self.facts.get().map(|facts| facts.leaf.apply(limits)).unwrap_or_default()
    }

    /// Reads its usage, on a thread that may block. `None` while it is not known.
    pub(crate) fn usage(&self) -> impl FnOnce() -> Option<(std::time::Instant, Usage)> + Send + 'static {
        let facts = Arc::clone(&self.facts);
        move || facts.get()?.usage()
    }
}

/// Returns a handle to a child and the task that runs it, for the caller to spawn. `launch` prepares the launch on a
/// thread that may block; `number` is part of each of the child's events.
pub(crate) fn watch(
    launch: impl FnOnce() -> io::Result<Launch> + Send + 'static,
    groups: Arc<Groups>,
    sink: Sink,
    events: mpsc::Sender<(u64, ChildEvent)>,
    number: u64,
) -> (Watched, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(ORDERS);
    let facts = Arc::new(OnceLock::new());
    let watched = Watched { commands: sender, facts: Arc::clone(&facts) };
    let task = async move {
        let of = Arc::clone(&groups);
        let start = move || -> Result<_, String> {
            let launch = launch().map_err(|error| error.to_string())?;
            let memory_limit = launch.limits.as_ref().map(|limits| limits.memory_bytes);
            let spawned = spawn(launch, &of).map_err(|error| error.to_string())?;
            Ok((memory_limit, spawned))
        };
        let ended = match spawn_blocking(start).await {
            Ok(Ok((memory_limit, spawned))) => {
                let task = Task { groups, memory_limit, facts, commands: receiver, events: &events, number };
                task.run(spawned, sink).await
            }
            Ok(Err(reason)) => Ended::not_started(reason),
            Err(error) => Ended::not_started(format!("the thread that starts it failed: {error}")),
        };
        let _ = events.send((number, ChildEvent::Ended(ended))).await;
    };
    (watched, task)
}

struct Task<'a> {
    groups: Arc<Groups>,
    /// Bytes.
    memory_limit: Option<u64>,
    facts: Arc<OnceLock<Facts>>,
    commands: mpsc::Receiver<Command>,
    events: &'a mpsc::Sender<(u64, ChildEvent)>,
    number: u64,
}

impl Task<'_> {
    async fn run(mut self, spawned: Spawned, sink: Sink) -> Ended {
        let leaf = Arc::clone(&spawned.leaf);
        let facts = Facts { leaf: Arc::clone(&leaf), init: OnceLock::new(), sample: Mutex::default() };
        let _ = self.facts.set(facts);
        let logs = [(spawned.output, sink.clone(), "out"), (spawned.errors, sink, "err")];
        let logs =
            logs.map(|(pipe, sink, from)| tokio::spawn(capture(Receiver::from_owned_fd(pipe.into()), sink, from)));
        let outcome = match Channel::new(spawned.socket) {
            Ok(channel) => self.serve(channel, spawned.measures, &leaf).await,
            Err(error) => Outcome::NotStarted { reason: format!("cannot watch its init: {error}") },
        };
        let out_of_memory = leaf.out_of_memory_kills() > 0;

        // Nothing of it may be left when its end is reported.
        let init = self.init();
        let destroyed = spawn_blocking(move || {
            let destroyed = leaf.destroy();
            reap(init);
            destroyed
        });
        if let Ok(Err(error)) = destroyed.await {
            tracing::warn!("failed to clean up after a child: {error}");
        }
        for log in logs {
            let abort = log.abort_handle();
            if timeout(END_TIME, log).await.is_err() {
                abort.abort();
            }
        }
        Ended { outcome, out_of_memory, memory_limit: self.memory_limit }
    }

    fn init(&self) -> Option<i32> {
        self.facts.get().and_then(|facts| facts.init.get().copied())
    }

    /// Until the init is gone.
    async fn serve(&mut self, channel: Channel, mut measures: Vec<Measure>, leaf: &Arc<Leaf>) -> Outcome {
        let mut outcome = None;
        let mut killed_at: Option<Instant> = None;
        let mut look_at = Instant::now() + SAMPLE_NEAR;
        let sampling = self.samples(&mut measures);
        let born_by = Instant::now() + BIRTH_TIME;
        loop {
            tokio::select! {
                report = channel.receive::<Report>() => match report {
                    Ok(Some(received)) => match received.message {
                        Report::Measure(measure) if measures.len() < MAX_MEASURES => note(&mut measures, measure),
                        Report::Measure(_) => {}
                        Report::Init { pid } => {
                            let _ = self.facts.get().map(|facts| facts.init.set(pid));
                        }
                        Report::Running { pid } => {
                            let pid = pid.or(received.pid).unwrap_or_default();
                            self.tell(ChildEvent::Running { pid, measures: std::mem::take(&mut measures) }).await;
                        }
                        Report::Ready => self.tell(ChildEvent::Ready).await,
                        Report::Ended(how) => outcome = outcome.or(Some(how)),
                        // A kill removes the groups, which an init may be about to join: it is no failure of its own.
                        Report::Failed { .. } if killed_at.is_some() => {}
                        Report::Failed { reason } => outcome = Some(Outcome::NotStarted { reason }),
                    },
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!("an init sent a malformed report: {error}");
                        break;
                    }
                },
                // All senders are dropped: the supervisor is ending, and with it everything.
                command = self.commands.recv() => match command {
                    Some(Command::Terminate) => {
                        let _ = channel.send(&Order::Terminate);
                    }
                    Some(Command::Limit(memory)) => self.memory_limit = Some(memory),
                    Some(Command::Kill) | None if killed_at.is_none() => {
                        killed_at = Some(Instant::now());
                        outcome = outcome.or(Some(Outcome::Signalled(Signal::SIGKILL as i32)));
                        self.kill(&channel, leaf).await;
                    }
                    Some(Command::Kill) | None => tokio::time::sleep(SAMPLE_NEAR).await,
                },
                () = sleep_until(born_by), if self.init().is_none() && killed_at.is_none() => {
                    tracing::warn!("the fork server has started no init for {} s; starting another", BIRTH_TIME.as_secs());
                    let groups = Arc::clone(&self.groups);
                    let _ = spawn_blocking(move || groups.inits.stop()).await;
                    outcome = outcome.or_else(|| Some(Outcome::NotStarted { reason: "its init did not start".into() }));
                    killed_at = Some(Instant::now());
                    self.kill(&channel, leaf).await;
                }
                () = sleep_until(look_at), if sampling || killed_at.is_some() => {
                    look_at = Instant::now() + SAMPLE_NEAR;
                    if killed_at.is_some_and(|at| at.elapsed() > END_TIME) {
                        break;
                    }
                    if sampling && killed_at.is_none() {
                        let (used, limit) = (self.sample().await, self.memory_limit.unwrap_or(u64::MAX));
                        look_at = Instant::now() + until_next_sample(used, limit);
                        if used > limit {
                            killed_at = Some(Instant::now());
                            outcome = Some(Outcome::OverSampledLimit { used });
                            self.kill(&channel, leaf).await;
                        }
                    }
                }
            }
        }
        // A stopped or stuck init does not notice the end of its socket.
        if let Some(init) = self.init().filter(|_| killed_at.is_some()) {
            let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
        }
        outcome.unwrap_or(Outcome::InitLost)
    }

    /// Whether memory must be sampled because nothing else limits it; the measure then says so.
    fn samples(&self, measures: &mut [Measure]) -> bool {
        let memory = measures.iter_mut().find(|measure| measure.measure == "memory" && !measure.applied);
        if let Some(why) = memory.and_then(|measure| measure.why_not.as_mut()) {
            why.push_str("; sampled over the process tree instead: every 2 s, more often the nearer the limit, up to four times a second");
            return true;
        }
        false
    }

    async fn tell(&self, event: ChildEvent) {
        let _ = self.events.send((self.number, event)).await;
    }

    /// Ends the socket, at which the init kills everything, and destroys the group.
    async fn kill(&self, channel: &Channel, leaf: &Arc<Leaf>) {
        let _ = channel.shut_down();
        let leaf = Arc::clone(leaf);
        let _ = spawn_blocking(move || leaf.destroy()).await;
    }

    /// Samples what it uses; returns its memory, bytes.
    async fn sample(&self) -> u64 {
        let (Some(facts), Some(init)) = (self.facts.get(), self.init()) else { return 0 };
        let Ok(usage) = spawn_blocking(move || sampled::usage(init)).await else { return 0 };
        *facts.sample.lock().unwrap_or_else(PoisonError::into_inner) = Some((std::time::Instant::now(), usage));
        usage.memory_bytes.unwrap_or_default()
    }
}

fn until_next_sample(used: u64, limit: u64) -> Duration {
    match used {
        used if used >= limit / 2 => SAMPLE_NEAR,
        used if used >= limit / 4 => SAMPLE_BELOW,
        _ => SAMPLE_FAR,
    }
}

/// Adds a measure. One that is applied replaces an earlier one of the same name that is not.
fn note(measures: &mut Vec<Measure>, new: Measure) {
    match measures.iter_mut().find(|old| old.measure == new.measure) {
        Some(old) if old.applied => {}
        Some(old) => *old = new,
        None => measures.push(new),
    }
}

/// Reaps the init, which became a child of this process when the first stage exited. Its socket ends a moment before it
/// does, and maybe a moment before the first stage does, too.
fn reap(init: Option<i32>) {
    let Some(pid) = init.map(Pid::from_raw) else { return };
    let deadline = std::time::Instant::now() + END_TIME;
    for (count, pause) in crate::limits::pauses().enumerate() {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Err(Errno::ECHILD) if count < ADOPTION_PAUSES => {}
            _ => return,
        }
        if std::time::Instant::now() > deadline {
            tracing::warn!(pid = pid.as_raw(), "an init does not end");
            return;
        }
        std::thread::sleep(pause);
    }
}

/// Makes this process the subreaper of its descendants. Call it once per process.
pub(crate) fn become_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)
}
