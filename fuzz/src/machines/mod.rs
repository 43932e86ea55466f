//! State machines, given stories: things that happen in any order, at any time. Those that have a driver are driven as it
//! does, and must leave it something to wait for: a machine that wants to be polled again at once would spin.

pub mod dht;
pub mod discovery;
pub mod gossip;
pub mod peers;
pub mod session;
pub mod small;

use std::time::Instant;

use polypeer_engine::now::Now;

/// Things a machine may want at one moment: far above what any has to say.
const PATIENCE: usize = 100_000;

/// Polls until there is nothing more.
fn drain<T>(mut poll: impl FnMut() -> Option<T>, mut each: impl FnMut(T)) {
    for _ in 0..PATIENCE {
        match poll() {
            Some(output) => each(output),
            None => return,
        }
    }
    panic!("it wants something again and again at one moment");
}

/// After everything due has been done, the next timeout is later.
fn waits(next: Option<Instant>, now: Now) {
    assert!(next.is_none_or(|next| next > now.at), "it wants to be woken at a moment that has come already");
}
