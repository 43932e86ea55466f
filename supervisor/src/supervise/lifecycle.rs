//! State machine of one child: requests and events in, actions out. Pure: time and randomness are arguments. The
//! supervisor's task runs it.

use std::time::{Duration, Instant};

use super::restarts::{Restarts, Verdict};
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
}

/// Requests and events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Request: run.
    Start,
    /// Request: stop.
    Stop,
    /// Request: stop, then run.
    Restart,
    /// Its process is running.
    Running,
    /// It has a control session.
    Session,
    /// It reported ready.
    Notified,
    /// Its readiness port accepts connections.
    Port,
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

/// The state machine.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    habits: Habits,
    restarts: Restarts,
    state: State,
    since: Option<Instant>,
    deadline: Option<Instant>,
    again: bool,
    killed: bool,
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
            killed: false,
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
            Input::Restart if self.state.has_process() => {
                self.again = true;
                self.terminate(now)
            }
            Input::Restart => self.start(now),
            Input::Running => self.sign(Ready::None),
            Input::Session => self.sign(Ready::Session),
            Input::Notified => self.sign(Ready::Notify),
            Input::Port => match self.habits.ready {
                ready @ Ready::Tcp(_) => self.sign(ready),
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
        self.deadline = None;
        self.killed = false;
        Some(Action::Spawn)
    }

    fn stop(&mut self, now: Instant) -> Option<Action> {
        self.again = false;
        match self.state {
            State::Starting | State::Ready => self.terminate(now),
            State::Backoff => {
                self.state = State::Stopped;
                self.deadline = None;
                None
            }
            State::Stopping | State::Stopped | State::Failed | State::Idle => None,
        }
    }

    fn terminate(&mut self, now: Instant) -> Option<Action> {
        if self.state == State::Stopping {
            return None;
        }
        self.state = State::Stopping;
        self.deadline = Some(now + self.habits.stop_timeout);
        Some(Action::Terminate)
    }

    fn sign(&mut self, sign: Ready) -> Option<Action> {
        if self.state == State::Starting && self.habits.ready == sign {
            self.state = State::Ready;
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
                self.killed = true;
                Some(Action::Kill)
            }
            _ => None,
        }
    }

    fn ended(&mut self, now: Instant, random: f64, how: String, success: bool) -> Option<Action> {
        self.deadline = None;
        if self.state == State::Stopping {
            let seconds = self.habits.stop_timeout.as_secs();
            self.reason = Some(match self.killed {
                true => format!("stopped by the operator; killed, as it did not end within {seconds} s"),
                false => "stopped by the operator".to_owned(),
            });
            self.state = State::Stopped;
            return if std::mem::take(&mut self.again) { self.start(now) } else { None };
        }
        let uptime = self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        match self.restarts.ended(now, uptime, success, random) {
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
#[path = "lifecycle_tests.rs"]
mod tests;
