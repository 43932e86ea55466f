//! Restart policy: whether and when an ended child is restarted. Pure: time and randomness are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::manifest::RestartPolicy;

/// Uptime after which a crashed child is restarted at once.
pub const SETTLED: Duration = Duration::from_secs(10);
/// Backoff after the first crash before that uptime; doubles with each further one.
pub const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest backoff.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Number of crashes …
pub const TOO_MANY: usize = 5;
/// … within this time after which restarts stop.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Number of starts in a row that failed before the child was ready, however long each took, after which they stop,
/// too.
pub const TOO_MANY_STARTS: u32 = 5;
/// Jitter of the backoff, as a fraction, so that children that crashed together do not restart together.
const JITTER: f64 = 0.25;

/// An end that was not requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Time since the start.
    pub uptime: Duration,
    /// Whether the exit status was 0.
    pub success: bool,
    /// Whether it was ready before.
    pub was_ready: bool,
}

/// The decision after an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Restart it after this time.
    Again(Duration),
    /// Leave it stopped.
    Rest,
    /// Give up: it crashes too often.
    GiveUp {
        /// `5 crashes in 60 s`.
        why: String,
    },
}

/// The crashes of one child.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: RestartPolicy,
    /// Whether restarts ever stop: yes for plugins, no for netcore.
    gives_up: bool,
    in_a_row: u32,
    failed_starts: u32,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub fn new(policy: RestartPolicy, gives_up: bool) -> Self {
        Self { policy, gives_up, in_a_row: 0, failed_starts: 0, recent: VecDeque::new() }
    }

    /// Clears the history, when the operator starts the child.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
        self.failed_starts = 0;
        self.recent.clear();
    }

    /// Decides after an end that was not requested. `random` is from 0 to 1.
    pub fn ended(&mut self, now: Instant, end: End, random: f64) -> Verdict {
        match (self.policy, end.success) {
            (RestartPolicy::Never, _) | (RestartPolicy::OnFailure, true) => return Verdict::Rest,
            (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, false) => {}
        }
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() == TOO_MANY {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        if self.gives_up && self.recent.len() == TOO_MANY {
            return Verdict::GiveUp { why: format!("{TOO_MANY} crashes in {} s", WINDOW.as_secs()) };
        }
        self.failed_starts = if end.was_ready { 0 } else { self.failed_starts.saturating_add(1) };
        if self.gives_up && self.failed_starts >= TOO_MANY_STARTS {
            return Verdict::GiveUp { why: format!("{TOO_MANY_STARTS} starts in a row failed") };
        }
        if end.was_ready && end.uptime >= SETTLED {
            self.in_a_row = 0;
            return Verdict::Again(Duration::ZERO);
        }
        let doubled = FIRST_WAIT.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row = self.in_a_row.saturating_add(1);
        let factor = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        Verdict::Again(doubled.min(LONGEST_WAIT).mul_f64(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    fn crash(seconds: u64) -> End {
        End { uptime: Duration::from_secs(seconds), success: false, was_ready: true }
    }

    #[test]
    fn settled_child_is_started_again_at_once_and_then_ever_later() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure, true);
        let mut now = Instant::now();
        assert_eq!(restarts.ended(now, crash(10), MIDDLE), Verdict::Again(Duration::ZERO));
        for wait in [500, 1000, 2000] {
            now += Duration::from_secs(3);
            assert_eq!(restarts.ended(now, crash(1), MIDDLE), Verdict::Again(Duration::from_millis(wait)));
        }
        now += Duration::from_secs(3);
        let verdict = restarts.ended(now, crash(1), MIDDLE);
        assert_eq!(verdict, Verdict::GiveUp { why: "5 crashes in 60 s".to_owned() });
    }

    #[test]
    fn rare_crashes_are_never_given_up_on() {
        let mut restarts = Restarts::new(RestartPolicy::Always, true);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += Duration::from_secs(16);
            let end = End { success: true, ..crash(16) };
            assert_eq!(restarts.ended(now, end, MIDDLE), Verdict::Again(Duration::ZERO));
        }
    }

    #[test]
    fn starts_that_fail_slowly_are_given_up_on_too() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure, true);
        let mut now = Instant::now();
        let failed = End { was_ready: false, ..crash(30) };
        for wait in [500, 1000, 2000, 4000] {
            now += Duration::from_secs(30);
            assert_eq!(restarts.ended(now, failed, MIDDLE), Verdict::Again(Duration::from_millis(wait)));
        }
        now += Duration::from_secs(30);
        assert_eq!(restarts.ended(now, failed, MIDDLE), Verdict::GiveUp { why: "5 starts in a row failed".to_owned() });
    }

    #[test]
    fn netcore_is_tried_for_ever_at_the_longest_wait() {
        let mut restarts = Restarts::new(RestartPolicy::Always, false);
        let now = Instant::now();
        let last = (0..50).map(|_| restarts.ended(now, End { was_ready: false, ..crash(0) }, MIDDLE)).last();
        assert_eq!(last, Some(Verdict::Again(LONGEST_WAIT)));
        assert_eq!(restarts.recent.len(), TOO_MANY, "history is bounded");
    }

    #[test]
    fn waits_differ_by_a_quarter() {
        let wait = |random| Restarts::new(RestartPolicy::Always, true).ended(Instant::now(), crash(0), random);
        assert_eq!(wait(0.0), Verdict::Again(Duration::from_millis(375)));
        assert_eq!(wait(1.0), Verdict::Again(Duration::from_millis(625)));
    }

    #[test]
    fn policies_decide_what_counts() {
        let verdict =
            |policy, success| Restarts::new(policy, true).ended(Instant::now(), End { success, ..crash(10) }, MIDDLE);
        assert_eq!(verdict(RestartPolicy::OnFailure, true), Verdict::Rest);
        assert_eq!(verdict(RestartPolicy::Never, false), Verdict::Rest);
        assert_eq!(verdict(RestartPolicy::Always, true), Verdict::Again(Duration::ZERO));
    }
}
