//! The system's clocks, which drivers read for the engines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use polypeer_engine::now::Now;

/// The present time, on both clocks.
pub fn now() -> Now {
    Now { at: Instant::now(), unix: unix() }
}

/// The present time in Unix seconds; 0 if the clock is set before 1970.
pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
