//! Who may ask how much: questions of peers in progress, and how fast they come. Pure.
//!
//! A peer has a bucket that fills steadily; each question takes one out. What an honest node asks of another in a burst
//! (a lookup, a round of republishing) fits in it; what floods does not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::rate::{Bucket, Rate};

/// Questions of peers being answered at once: most take microseconds, a probe some seconds.
pub const QUESTIONS: usize = 1024;
/// Those of one peer among them: what a busy lookup has under way with one node is a few.
pub const QUESTIONS_PER_PEER: usize = 32;
/// Questions one peer may ask: ten times what republishing and lookups of a busy node amount to.
pub const QUESTION_RATE: Rate = Rate { burst: 256, per_second: 64 };
/// Peers whose rate is remembered: more than can be connected, with those of short connections a moment ago.
pub const QUESTION_PEERS: usize = 4096;

/// Why a question is not answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The whole node is at its limit.
    #[error("{QUESTIONS} questions are being answered already; try again in a moment")]
    Full,
    /// This peer is, with questions not answered yet.
    #[error("{QUESTIONS_PER_PEER} of your questions are being answered already; wait for an answer")]
    TooMany,
    /// This peer asks too fast.
    #[error("more than {} questions a second; ask more slowly", QUESTION_RATE.per_second)]
    TooFast,
}

/// One peer's.
#[derive(Debug)]
struct Asking {
    in_progress: usize,
    bucket: Bucket,
    latest: Instant,
}

impl Asking {
    /// Whether nothing of it need be remembered: the bucket is full again.
    fn is_over(&self, now: Instant) -> bool {
        let full = Duration::from_secs((QUESTION_RATE.burst / QUESTION_RATE.per_second).into());
        self.in_progress == 0 && now.saturating_duration_since(self.latest) >= full
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Admission {
    peers: HashMap<NodeId, Asking>,
    in_progress: usize,
}

impl Admission {
    /// A question of `peer`'s came; when it is let in, [`Self::leave`] is called once it is answered.
    pub fn enter(&mut self, now: Instant, peer: NodeId) -> Result<(), Refused> {
        if self.in_progress >= QUESTIONS {
            return Err(Refused::Full);
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= QUESTION_PEERS {
            self.peers.retain(|_, asking| !asking.is_over(now));
            if self.peers.len() >= QUESTION_PEERS {
                return Err(Refused::Full);
            }
        }
        let new = || Asking { in_progress: 0, bucket: Bucket::new(QUESTION_RATE), latest: now };
        let asking = self.peers.entry(peer).or_insert_with(new);
        asking.latest = now;
        if asking.in_progress >= QUESTIONS_PER_PEER {
            return Err(Refused::TooMany);
        }
        if !asking.bucket.take(1, now) {
            return Err(Refused::TooFast);
        }
        asking.in_progress += 1;
        self.in_progress += 1;
        Ok(())
    }

    /// A question that was let in is answered, or given up.
    pub fn leave(&mut self, peer: &NodeId) {
        if let Some(asking) = self.peers.get_mut(peer) {
            asking.in_progress = asking.in_progress.saturating_sub(1);
            self.in_progress = self.in_progress.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, node as peer};

    #[test]
    fn a_peer_that_waits_for_many_answers_gets_no_more_in_progress() {
        let (mut admission, now) = (Admission::default(), testing::start());
        for _ in 0..QUESTIONS_PER_PEER {
            assert_eq!(admission.enter(now, peer(1)), Ok(()));
        }
        assert_eq!(admission.enter(now, peer(1)), Err(Refused::TooMany));
        assert_eq!(admission.enter(now, peer(2)), Ok(()), "others are not held up");
        admission.leave(&peer(1));
        assert_eq!(admission.enter(now, peer(1)), Ok(()));
    }

    #[test]
    fn a_peer_that_floods_is_slowed_to_the_rate() {
        let (mut admission, start) = (Admission::default(), testing::start());
        let mut answered = 0;
        for _ in 0..10 * QUESTION_RATE.burst {
            if admission.enter(start, peer(1)).is_ok() {
                answered += 1;
                admission.leave(&peer(1));
            }
        }
        assert_eq!(answered, QUESTION_RATE.burst);
        assert_eq!(admission.enter(start, peer(1)), Err(Refused::TooFast));
        assert_eq!(admission.enter(start + Duration::from_secs(1), peer(1)), Ok(()));
    }

    #[test]
    fn the_node_answers_so_many_at_once_and_remembers_so_many_peers() {
        let (mut admission, now) = (Admission::default(), testing::start());
        let mut number = 0;
        while admission.in_progress < QUESTIONS {
            number += 1;
            assert_eq!(admission.enter(now, peer(number)), Ok(()));
        }
        assert_eq!(admission.enter(now, peer(0)), Err(Refused::Full));
        for number in 1..=number {
            admission.leave(&peer(number));
        }
        for number in 0..QUESTION_PEERS as u32 {
            if admission.enter(now, peer(number)).is_ok() {
                admission.leave(&peer(number));
            }
        }
        assert_eq!(admission.enter(now, peer(1 << 20)), Err(Refused::Full), "all asked a moment ago");
        assert_eq!(admission.enter(now + Duration::from_secs(10), peer(1 << 20)), Ok(()));
        assert!(admission.peers.len() <= QUESTION_PEERS);
    }
}
