//! Admission of peers' questions: limits how many are in progress, and how fast each peer may ask. Pure.
//!
//! Each peer has a token bucket; each question takes a token. The burst of an honest node (a lookup, a round of
//! republishing) fits in it; a flood does not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::rate::{Bucket, Rate};

/// Questions in progress on the whole node: most take microseconds, a probe some seconds.
pub const QUESTIONS: usize = 1024;
/// Questions in progress of one peer: a busy lookup has only a few in flight with one node.
pub const QUESTIONS_PER_PEER: usize = 32;
/// Rate limit for the questions of one peer: ten times what a busy node's republishing and lookups need.
pub const QUESTION_RATE: Rate = Rate { burst: 256, per_second: 64 };
/// Peers whose rate is remembered: more than can be connected, with room for those of recent short connections.
pub const QUESTION_PEERS: usize = 4096;

/// Why a question is not answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The whole node is at its limit.
    #[error("{QUESTIONS} questions are being answered already; try again in a moment")]
    Full,
    /// This peer has too many questions in progress.
    #[error("{QUESTIONS_PER_PEER} of your questions are being answered already; wait for an answer")]
    TooMany,
    /// This peer asks too fast.
    #[error("more than {} questions a second; ask more slowly", QUESTION_RATE.per_second)]
    TooFast,
}

/// Questions in progress and rate of one peer.
#[derive(Debug)]
struct Asking {
    in_progress: usize,
    bucket: Bucket,
    latest: Instant,
}

impl Asking {
    /// Whether the peer can be forgotten: nothing is in progress, and its bucket is full again.
    fn is_over(&self, now: Instant) -> bool {
        let full = Duration::from_secs((QUESTION_RATE.burst / QUESTION_RATE.per_second).into());
        self.in_progress == 0 && now.saturating_duration_since(self.latest) >= full
    }
}

#[derive(Debug, Default)]
pub struct Admission {
    peers: HashMap<NodeId, Asking>,
    in_progress: usize,
}

impl Admission {
    /// Admits a question of `peer`, or refuses it. After `Ok`, call [`Self::leave`] once the question is answered.
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

    /// Ends an admitted question, which is answered or given up.
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
