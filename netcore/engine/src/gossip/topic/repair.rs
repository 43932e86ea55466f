//! Recovery of lost messages: two neighbours compare fingerprints of short spans of the recent past, and list the
//! messages of those that differ. This finds every lost message, whatever the cause, also for a node that comes late.

use std::collections::BTreeSet;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use crate::gossip::common::Common;
use crate::gossip::message::MessageId;
use crate::gossip::peer::Kind;
use crate::gossip::timers::Work;
use crate::gossip::wire::{BUCKET, Bucket, Frame, MAX_BUCKETS, MAX_IDS};
use crate::now::Now;

/// Seconds after its end at which a bucket is compared: messages in flight have arrived by then.
const SETTLED: u64 = 2;
/// Comparisons of a changed bucket, besides those of each heartbeat.
const ROUNDS: u8 = 1;
/// Messages listed in answer to one `List`.
const MAX_LISTED: usize = 4 * MAX_IDS;
/// Bytes that each listed id takes from the peer's rate limit.
const LISTED_BYTES: usize = 17;

impl Topic {
    /// Schedules the comparison of a changed bucket for when it is complete.
    pub(super) fn changed(&mut self, cx: &mut Common, now: Now, number: u32) {
        if self.rounds.insert(number, ROUNDS) == Some(ROUNDS) {
            return;
        }
        while self.rounds.len() > MAX_BUCKETS {
            self.rounds.pop_first();
        }
        let wait = complete(number).saturating_sub(now.unix).min(4 * BUCKET);
        let at = now.at + Duration::from_secs(wait) + cx.jittered(Duration::from_secs(1));
        cx.timers.set_earliest(Some(self.id), Work::Digest, at);
    }

    /// Compares complete buckets with each neighbour that is not known to have the same.
    pub(super) fn digest(&mut self, cx: &mut Common, now: Now) {
        let due: Vec<u32> = self.rounds.keys().copied().filter(|number| complete(*number) <= now.unix).collect();
        let buckets: Vec<Bucket> = due.iter().map(|number| self.store.bucket(*number)).collect();
        for (&peer, neighbour) in &self.neighbours {
            let differ: Vec<_> = buckets.iter().filter(|bucket| !neighbour.has(bucket)).copied().collect();
            if !differ.is_empty() {
                cx.send(peer, Frame::Digest { topic: self.id, buckets: differ });
            }
        }
        for number in due {
            if let Some(left) = self.rounds.get_mut(&number) {
                *left -= 1;
                if *left == 0 {
                    self.rounds.remove(&number);
                }
            }
        }
        if !self.rounds.is_empty() {
            let next = now.at + cx.jittered(cx.config.digest);
            cx.timers.set(Some(self.id), Work::Digest, next);
        }
    }

    /// Compares all buckets in which messages are held with one neighbour; also a keepalive.
    pub(super) fn compare(&self, cx: &mut Common, peer: NodeId) {
        cx.send(peer, Frame::Digest { topic: self.id, buckets: self.store.buckets() });
    }

    pub(super) fn handle_digest(&mut self, cx: &mut Common, now: Now, from: NodeId, buckets: &[Bucket]) {
        if !self.adopt(cx, now, from) {
            return;
        }
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        let mut differ = Vec::new();
        for theirs in buckets {
            let ours = self.store.bucket(theirs.number);
            if ours == *theirs {
                neighbour.agrees(theirs);
            } else if ours.count <= theirs.count && neighbour.differs(theirs) {
                // Otherwise the peer lacks something, and requests it once it has this node's digest.
                differ.push(theirs.number);
            }
        }
        if !differ.is_empty() {
            cx.send(from, Frame::List { topic: self.id, buckets: differ });
        }
    }

    pub(super) fn handle_list(&mut self, cx: &mut Common, now: Now, from: NodeId, buckets: &[u32]) {
        if !self.neighbours.contains_key(&from) {
            return;
        }
        // The cost of a list grows with the number of ids, expired messages included: it is charged before.
        let buckets: BTreeSet<u32> = buckets.iter().copied().collect();
        let names: usize = buckets.iter().map(|number| self.store.names_to_list(*number)).sum();
        if names == 0 || !cx.may(from, Kind::Served, names * LISTED_BYTES, now) {
            return;
        }
        let mut all: Vec<(MessageId, u8)> = Vec::new();
        for number in buckets {
            all.extend(self.store.list(number).take(MAX_LISTED - all.len()));
        }
        for part in all.chunks(MAX_IDS) {
            cx.send(from, Frame::Have { topic: self.id, answer: true, messages: part.to_vec() });
        }
    }
}

/// Unix time at which a bucket is complete at every node, seconds.
fn complete(number: u32) -> u64 {
    (u64::from(number) + 1) * BUCKET + SETTLED
}
