//! How two neighbours find out that one of them lacks something: they compare fingerprints of short spans of the recent
//! past, and list those that differ. It finds whatever was lost, however it was, also by a node that comes late.

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

/// How long after its end a bucket is compared: what is under way has arrived by then.
const SETTLED: u64 = 2;
/// How often a bucket is compared, besides with every heartbeat.
const ROUNDS: u8 = 1;
/// Messages listed in one answer.
const MAX_LISTED: usize = 4 * MAX_IDS;
/// What a name that is looked at for a list costs of what a peer may ask for, bytes.
const LISTED_BYTES: usize = 17;

impl Topic {
    /// A bucket changed: it is to be compared once it is complete.
    pub(super) fn changed(&mut self, cx: &mut Common, now: Now, number: u32) {
        if self.rounds.insert(number, ROUNDS) == Some(ROUNDS) {
            return;
        }
        while self.rounds.len() > MAX_BUCKETS {
            self.rounds.pop_first();
        }
        let wait = complete(number).saturating_sub(now.unix).min(4 * BUCKET);
        let at = now.at + Duration::from_secs(wait) + cx.about(Duration::from_secs(1));
        cx.timers.by(Some(self.id), Work::Digest, at);
    }

    /// Compares what is complete and was not found the same.
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
            let next = now.at + cx.about(cx.config.digest);
            cx.timers.set(Some(self.id), Work::Digest, next);
        }
    }

    /// Compares everything that can be had with one neighbour, and says thereby that it is one.
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
                // Otherwise it lacks something, and asks once it has heard what is here.
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
        // Looking costs as much as there are names, also of messages that are gone: it is paid for before.
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

/// The second at which a bucket is complete everywhere.
fn complete(number: u32) -> u64 {
    (u64::from(number) + 1) * BUCKET + SETTLED
}
