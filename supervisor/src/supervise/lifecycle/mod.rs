//! State machine of one child: requests and events in, actions out. Pure: time and randomness are arguments. The
//! supervisor's task runs it. `words` says for people what a child waits for and how it ended.

mod words;

use std::time::{Duration, Instant};

use super::restarts::{End, Restarts, Verdict};
use crate::manifest::{Ready, RestartPolicy};

/// State of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Being started, or not ready yet.
    Starting,
    Ready,
    /// Told to end.
    Stopping,
    /// Not running, as requested.
    Stopped,
    /// Crashed; waiting for a restart.
    Backoff,
    /// Not running after a failure; only the operator restarts it.
    Failed,
    /// Not running because it is not needed.
    Idle,
}

impl State {
    /// Its name in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Idle => "idle",
        }
    }

    /// Whether a process exists or is being started.
    pub fn has_process(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Stopping)
    }
}

/// Settings of a child's lifecycle.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub policy: RestartPolicy,
    /// Whether restarts stop after too many crashes.
    pub gives_up: bool,
    /// Time between SIGTERM and SIGKILL.
    pub stop_timeout: Duration,
    /// Readiness check.
    pub ready: Ready,
    /// How long it may take to be ready; then it is killed, which counts as a crash.
    pub ready_timeout: Duration,
}

/// Requests and events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Request: run.
    Start,
    /// Request: stop.
    Stop,
    /// Its process is running.
    Running,
    /// It has a control session.
    Session,
    /// It reported ready.
    Notified,
    /// Its readiness port accepts connections.
    Port,
    /// It failed its liveness check for this long.
    Unresponsive(Duration),
    /// It and everything that it started have ended.
    Ended {
        /// Description for people.
        how: String,
        /// Whether the exit status was 0.
        success: bool,
    },
    /// The time of [`Lifecycle::deadline`] was reached.
    Tick,
}

/// Actions for the supervisor's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start its process.
    Spawn,
    /// Send SIGTERM.
    Terminate,
    /// Kill the whole tree.
    Kill,
}

/// Why a child was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// It did not end after SIGTERM.
    Stubborn,
    /// It was not ready in time.
    NeverReady,
    /// It failed its liveness check for this long.
    Unresponsive(Duration),
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    habits: Habits,
    restarts: Restarts,
    state: State,
    since: Option<Instant>,
    deadline: Option<Instant>,
    again: bool,
    killed: Option<Killed>,
    was_ready: bool,
    count: u32,
    reason: Option<String>,
}

impl Lifecycle {
    /// A child that does not run yet.
    pub fn new(habits: Habits) -> Self {
        Self {
            restarts: Restarts::new(habits.policy, habits.gives_up),
            habits,
            state: State::Stopped,
            since: None,
            deadline: None,
            again: false,
            killed: None,
            was_ready: false,
            count: 0,
            reason: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Number of automatic restarts.
    pub fn restarts(&self) -> u32 {
        self.count
    }

    /// How its last run ended, for people.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The time at which [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Marks the child as failed for an external reason.
    pub fn fail(&mut self, reason: String) {
        self.state = State::Failed;
        self.reason = Some(reason);
        self.deadline = None;
    }

    /// Marks the child as told to end by other means than SIGTERM; it is terminated at `deadline`.
    pub fn stopping(&mut self, deadline: Instant) {
        self.state = State::Stopping;
        self.deadline = Some(deadline);
    }

    /// Handles one input. `random` is from 0 to 1.
    pub fn handle(&mut self, now: Instant, random: f64, input: Input) -> Option<Action> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(now),
            Input::Running => self.sign(Ready::None),
            Input::Session => self.sign(Ready::Session),
            Input::Notified => self.sign(Ready::Notify),
            Input::Port => match self.habits.ready {
                ready @ Ready::Tcp(_) => self.sign(ready),
                _ => None,
            },
            Input::Unresponsive(time) => match self.state {
                State::Ready if self.killed.is_none() => {
                    self.killed = Some(Killed::Unresponsive(time));
                    Some(Action::Kill)
                }
                _ => None,
            },
            Input::Ended { how, success } => self.ended(now, random, how, success),
            Input::Tick => self.tick(now),
        }
    }

    fn start(&mut self, now: Instant) -> Option<Action> {
        match self.state {
            State::Starting | State::Ready => None,
            State::Stopping => {
                self.again = true;
                None
            }
            State::Stopped | State::Backoff | State::Failed | State::Idle => {
                self.restarts.reset();
                self.spawn(now)
            }
        }
    }

    fn spawn(&mut self, now: Instant) -> Option<Action> {
        self.state = State::Starting;
        self.since = Some(now);
        self.deadline = Some(now + self.habits.ready_timeout);
        self.killed = None;
        self.was_ready = false;
        Some(Action::Spawn)
    }

    fn stop(&mut self, now: Instant) -> Option<Action> {
        self.again = false;
        match self.state {
            State::Starting | State::Ready => self.terminate(now),
            State::Backoff | State::Failed => {
                self.state = State::Stopped;
                self.deadline = None;
                None
            }
            State::Stopping | State::Stopped | State::Idle => None,
        }
    }

    fn terminate(&mut self, now: Instant) -> Option<Action> {
        if self.state == State::Stopping {
            return None;
        }
        self.state = State::Stopping;
        self.killed = None;
        self.deadline = Some(now + self.habits.stop_timeout);
        Some(Action::Terminate)
    }

    fn sign(&mut self, sign: Ready) -> Option<Action> {
        if self.state == State::Starting && self.habits.ready == sign && self.killed.is_none() {
            self.state = State::Ready;
            self.was_ready = true;
            self.deadline = None;
        }
        None
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        self.deadline.filter(|deadline| *deadline <= now)?;
        self.deadline = None;
        match self.state {
            State::Backoff => {
                self.count = self.count.saturating_add(1);
                self.spawn(now)
            }
            State::Stopping => {
                self.killed = Some(Killed::Stubborn);
                Some(Action::Kill)
            }
            State::Starting => {
                self.killed = Some(Killed::NeverReady);
                Some(Action::Kill)
            }
            _ => None,
        }
    }

    fn ended(&mut self, now: Instant, random: f64, how: String, success: bool) -> Option<Action> {
        self.deadline = None;
        let how = self.described(&how);
        if self.state == State::Stopping {
            self.reason = Some(match self.killed {
                Some(_) => format!("stopped by the operator; {how}"),
                None => "stopped by the operator".to_owned(),
            });
            self.state = State::Stopped;
            return if std::mem::take(&mut self.again) { self.start(now) } else { None };
        }
        let uptime = self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        let end = End { uptime, success, was_ready: self.was_ready };
        match self.restarts.ended(now, end, random) {
            Verdict::Rest => {
                self.state = if success { State::Stopped } else { State::Failed };
                self.reason = Some(how);
                None
            }
            Verdict::GiveUp { why } => {
                self.state = State::Failed;
                self.reason = Some(format!("gave up: {why}, last: {how}"));
                None
            }
            Verdict::Again(wait) => {
                self.state = State::Backoff;
                self.reason = Some(how);
                self.deadline = Some(now + wait);
                if wait.is_zero() { self.tick(now) } else { None }
            }
        }
    }
}

#[cfg(test)]
mod tests;
