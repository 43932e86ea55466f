//! Targets for state machines: operations in any order, at any time. Engines are driven as their drivers do it. After
//! each step an engine must have a later deadline or none: a driver would spin otherwise.

pub mod dht;
pub mod discovery;
pub mod gossip;
pub mod peers;
pub mod session;
pub mod small;

use std::time::Instant;

use polypeer_engine::now::Now;

/// Most outputs of an engine at one time: far more than any has.
const PATIENCE: usize = 100_000;

/// Takes all outputs.
fn drain<T>(mut poll: impl FnMut() -> Option<T>, mut each: impl FnMut(T)) {
    for _ in 0..PATIENCE {
        match poll() {
            Some(output) => each(output),
            None => return,
        }
    }
    panic!("outputs without end at one time");
}

/// Asserts that the next deadline is later than `now`, once all due work is done.
fn waits(next: Option<Instant>, now: Now) {
    assert!(next.is_none_or(|next| next > now.at), "the next deadline is not later than now");
}
