//! What time it is, as state machines are told: they ask no clock.

use std::time::{Duration, Instant};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waiting: never goes back.
    pub at: Instant,
    /// For dates in records: Unix seconds.
    pub unix: u64,
}

impl Now {
    /// This moment, `later` later.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self { at: self.at + later, unix: self.unix + later.as_secs() }
    }
}
