//! The time that a caller passes to a state machine, which reads no clock itself.

use std::time::{Duration, Instant};

/// A moment, by the monotonic clock and by the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waits and deadlines: never goes back.
    pub at: Instant,
    /// For dates that are stored or sent: Unix seconds. May go back when the clock is set.
    pub unix: u64,
}

impl Now {
    /// The moment `later` after this one.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self { at: self.at + later, unix: self.unix + later.as_secs() }
    }
}
