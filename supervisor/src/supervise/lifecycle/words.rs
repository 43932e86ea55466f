//! What a child waits for and how its run ended, for people.

use std::time::{Duration, Instant};

use super::{Killed, Lifecycle, State};
use crate::manifest::Ready;

impl Lifecycle {
    /// What it is in the middle of, and for how long still; for people.
    pub fn waiting(&self, now: Instant) -> Option<String> {
        let left = || self.deadline.map(|deadline| deadline.saturating_duration_since(now).as_secs_f64().ceil());
        match (self.state, left()) {
            (State::Starting, _) if self.killed.is_some() => Some("killed, as it was not ready in time".to_owned()),
            (State::Starting, Some(left)) => {
                let what = match self.habits.ready {
                    Ready::Session => "it has not connected yet".to_owned(),
                    Ready::Notify => "it has not reported that it is ready yet".to_owned(),
                    Ready::Tcp(port) => format!("its port {port} accepts no connections yet"),
                    Ready::None => "its process does not run yet".to_owned(),
                };
                Some(format!("{what}; counts as a crash in {left} s"))
            }
            (State::Stopping, Some(left)) => Some(format!("it was told to end; killed in {left} s")),
            (State::Stopping, None) if self.killed.is_some() => {
                Some(format!("it did not stop within {} s and was killed", self.habits.stop_timeout.as_secs()))
            }
            (State::Backoff, Some(left)) => Some(format!("next start in {left} s")),
            _ => None,
        }
    }

    /// As [`Self::described`], for the log, before the end is handled: a child that was told to end has stopped.
    /// `as_told` says whether it ended as such a child does.
    pub fn told_end(&self, how: &str, as_told: bool) -> String {
        match (self.state, self.killed) {
            (State::Stopping, None) if as_told => "stopped".to_owned(),
            (State::Stopping, None) => format!("stopped: {how}"),
            _ => self.described(how),
        }
    }

    /// How a run ended: `how`, or why it was killed.
    pub fn described(&self, how: &str) -> String {
        let seconds = |time: Duration| time.as_secs();
        match self.killed {
            None => how.to_owned(),
            Some(Killed::Stubborn) => {
                format!("did not stop within {} s of SIGTERM: killed", seconds(self.habits.stop_timeout))
            }
            Some(Killed::Unresponsive(time)) => {
                format!("did not answer for {} s: killed; is its event loop blocked?", seconds(time))
            }
            Some(Killed::NeverReady) => {
                let time = seconds(self.habits.ready_timeout);
                match self.habits.ready {
                    Ready::Session => format!("not connected for {time} s: does it call connect()?"),
                    Ready::Notify => format!("not reported ready for {time} s: does it call ready()?"),
                    Ready::Tcp(port) => format!("port {port} accepted no connection for {time} s: does it listen?"),
                    Ready::None => format!("its process did not run within {time} s"),
                }
            }
        }
    }
}
