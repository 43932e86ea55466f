//! Liveness of one child by questions and answers. Pure: time is an argument. The supervisor's task asks netcore on the
//! admin session, and a plugin through netcore on its control session.
//!
//! Questions without an answer are counted, not the time: a machine or a supervisor that was suspended finds one
//! question unanswered afterwards, and the child has the rest of its time to answer.

use std::time::{Duration, Instant};

/// Questions in a row without an answer until the child counts as unresponsive.
pub const MISSES: u32 = 3;

/// What to do when [`Pulse::due`] is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Ask the next question.
    Ask,
    /// The same, and say that the child has not answered for this long.
    AskAgain(Duration),
    /// It has not answered for this long: restart it.
    Unresponsive(Duration),
}

/// The questions to one child.
#[derive(Debug, Clone)]
pub struct Pulse {
    every: Duration,
    due: Instant,
    unanswered: u32,
    answers: bool,
}

impl Pulse {
    /// A child that may not know the questions: what has never answered never counts as unresponsive.
    pub fn new(now: Instant, every: Duration) -> Self {
        Self { every, due: now + every, unanswered: 0, answers: false }
    }

    /// A child that answers.
    pub fn of_answering(now: Instant, every: Duration) -> Self {
        Self { answers: true, ..Self::new(now, every) }
    }

    /// The time of the next [`Self::handle_due`].
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How long it has not answered, if it answers otherwise.
    pub fn silent(&self) -> Option<Duration> {
        let missed = self.unanswered.checked_sub(1).filter(|missed| *missed > 0 && self.answers)?;
        Some(self.every * missed)
    }

    /// Whether it was asked and has never answered.
    pub fn never_answered(&self) -> bool {
        !self.answers && self.unanswered > 1
    }

    /// Handles the time; `None` before it is due.
    pub fn handle_due(&mut self, now: Instant) -> Option<Beat> {
        if now < self.due {
            return None;
        }
        self.due = now + self.every;
        if self.answers && self.unanswered >= MISSES {
            return Some(Beat::Unresponsive(self.every * MISSES));
        }
        self.unanswered = self.unanswered.saturating_add(1);
        Some(self.silent().map_or(Beat::Ask, Beat::AskAgain))
    }

    /// Handles an answer.
    pub fn handle_answer(&mut self) {
        self.answers = true;
        self.unanswered = 0;
    }

    /// Begins anew with a question at once: a child that has just begun its work is asked whether it knows them.
    pub fn begin(&mut self, now: Instant) {
        self.due = now;
        self.unanswered = 0;
    }

    /// Begins anew, because the child cannot be asked or is not to blame.
    pub fn excuse(&mut self, now: Instant) {
        self.due = now + self.every;
        self.unanswered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    /// Moves on to the next question, `late` by so much.
    fn next(pulse: &mut Pulse, late: Duration) -> Beat {
        let due = pulse.due();
        assert_eq!(pulse.handle_due(due - Duration::from_millis(1)), None);
        pulse.handle_due(due + late).expect("it is due")
    }

    #[test]
    fn silence_is_told_then_counted_as_unresponsive() {
        let mut pulse = Pulse::of_answering(Instant::now(), EVERY);
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Ask);
        pulse.handle_answer();
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Ask);
        assert_eq!(pulse.silent(), None);
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::AskAgain(EVERY));
        assert_eq!(pulse.silent(), Some(EVERY));
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::AskAgain(2 * EVERY));
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Unresponsive(3 * EVERY));
        pulse.excuse(pulse.due());
        assert_eq!((next(&mut pulse, Duration::ZERO), pulse.silent()), (Beat::Ask, None));
    }

    #[test]
    fn night_of_a_suspended_machine_is_one_question() {
        let mut pulse = Pulse::of_answering(Instant::now(), EVERY);
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Ask);
        assert_eq!(next(&mut pulse, Duration::from_secs(30_000)), Beat::AskAgain(EVERY));
        pulse.handle_answer();
        assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Ask);
    }

    #[test]
    fn child_that_does_not_know_the_questions_is_left_alone() {
        let mut pulse = Pulse::new(Instant::now(), EVERY);
        for _ in 0..100 {
            assert_eq!(next(&mut pulse, Duration::ZERO), Beat::Ask);
        }
        assert!(pulse.never_answered() && pulse.silent().is_none());
    }
}
