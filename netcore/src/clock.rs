//! The real time, which drivers hand to state machines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use polypeer_engine::now::Now;

/// This moment, by the system's clocks.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { at: Instant::now(), unix }
}
