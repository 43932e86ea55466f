//! Time inside the DHT: whole seconds, four bytes for each contact instead of sixteen.

/// Seconds since the engine was first told the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(pub(super) u32);

impl Moment {
    /// Seconds from `then` to this moment; 0 if `then` is later.
    pub(super) fn since(self, then: Self) -> u32 {
        self.0.saturating_sub(then.0)
    }
}

/// A lifetime as `u32` seconds: record lifetimes are at most a day.
pub(super) fn seconds(long: u64) -> u32 {
    u32::try_from(long).unwrap_or(u32::MAX)
}
