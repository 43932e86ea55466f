//! State of one neighbour in one topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::gossip::message::MessageId;
use crate::gossip::wire::{Bucket, MAX_BUCKETS};

/// Requests to a neighbour for the list of a bucket that stays different.
const MAX_LISTED: u8 = 4;

/// The highest standing in a topic: what a neighbour passed on long ago does not count for ever.
const BEST: i16 = 20;
/// The standing at which a neighbour is dropped.
const WORST: i16 = -20;
/// Cost in standing of a rejected message of its own. A rejected one that it passed on costs 1; an accepted one earns
/// 1.
const ITS_OWN: i16 = 4;

/// A neighbour in one topic.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// Whether messages are pushed to it; they are announced otherwise.
    pub(super) push: bool,
    /// Whether this node asked it to be a neighbour; it asked this node otherwise.
    pub(super) chosen: bool,
    /// When its last frame of this topic arrived.
    pub(super) heard: Instant,
    /// Messages to be announced to it, with their hops.
    pub(super) haves: Vec<(MessageId, u8)>,
    /// Verdicts of plugins on the messages that it sent: up when accepted, down when rejected.
    standing: i16,
    pruned: Option<Instant>,
    /// Fingerprints of buckets that were the same at the neighbour, by number.
    same: BTreeMap<u32, u64>,
    /// Fingerprints of buckets that were different at the neighbour, by number, and how often their lists were
    /// requested.
    listed: BTreeMap<u32, (u64, u8)>,
}

impl Neighbour {
    pub(super) fn new(push: bool, chosen: bool, now: Instant) -> Self {
        Self {
            push,
            chosen,
            heard: now,
            haves: Vec::new(),
            standing: 0,
            pruned: None,
            same: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }

    /// Whether to send it a `Prune` now: at most one in each `pause`, as it takes effect after a round trip.
    pub(super) fn may_prune(&mut self, now: Instant, pause: Duration) -> bool {
        let may = self.pruned.is_none_or(|pruned| pruned + pause <= now);
        if may {
            self.pruned = Some(now);
        }
        may
    }

    /// Raises its standing: a plugin accepted a message that it sent.
    pub(super) fn accepted(&mut self) {
        self.standing = (self.standing + 1).min(BEST);
    }

    /// Lowers its standing: a plugin rejected a message that it sent. Returns whether its standing is exhausted.
    pub(super) fn rejected(&mut self, is_author: bool) -> bool {
        self.standing -= if is_author { ITS_OWN } else { 1 };
        self.standing <= WORST
    }

    /// Notes that the bucket is the same at the neighbour.
    pub(super) fn agrees(&mut self, bucket: &Bucket) {
        self.same.insert(bucket.number, bucket.fingerprint);
        self.listed.remove(&bucket.number);
        if self.same.len() > MAX_BUCKETS {
            self.same.pop_first();
        }
    }

    /// Whether the neighbour is known to have the same bucket.
    pub(super) fn has(&self, bucket: &Bucket) -> bool {
        self.same.get(&bucket.number) == Some(&bucket.fingerprint)
    }

    /// Notes that the bucket is different at the neighbour. Returns whether to request its list once more.
    pub(super) fn differs(&mut self, bucket: &Bucket) -> bool {
        let entry = self.listed.entry(bucket.number).or_insert((bucket.fingerprint, 0));
        if entry.0 != bucket.fingerprint {
            *entry = (bucket.fingerprint, 0);
        }
        entry.1 += u8::from(entry.1 < MAX_LISTED + 1);
        let ask = entry.1 <= MAX_LISTED;
        if self.listed.len() > MAX_BUCKETS {
            self.listed.pop_first();
        }
        ask
    }
}
