//! What a node knows of one neighbour in one topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::gossip::message::MessageId;
use crate::gossip::wire::{Bucket, MAX_BUCKETS};

/// How often a neighbour is asked for the messages of a bucket that stays different.
const MAX_LISTED: u8 = 4;

/// The best standing in a topic: what a neighbour passed on long ago does not count for ever.
const BEST: i16 = 20;
/// The standing at which it is let go.
const WORST: i16 = -20;
/// What a rejected message of its own costs; one that it passed on costs 1, as each accepted one earns.
const ITS_OWN: i16 = 4;

/// One neighbour.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// Whether messages are pushed to it, rather than named.
    pub(super) push: bool,
    /// Whether this node asked for it, rather than the other way round.
    pub(super) chosen: bool,
    /// When it last said something.
    pub(super) heard: Instant,
    /// Messages to be named to it, with their hops.
    pub(super) haves: Vec<(MessageId, u8)>,
    /// What plugins thought of what it sent.
    standing: i16,
    pruned: Option<Instant>,
    /// Fingerprints of buckets that were the same there.
    same: BTreeMap<u32, u64>,
    /// Fingerprints of buckets that were other ones there, and how often their messages were asked for.
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

    /// Whether to tell it to push no more: it needs a moment to hear of it.
    pub(super) fn may_prune(&mut self, now: Instant, pause: Duration) -> bool {
        let may = self.pruned.is_none_or(|pruned| pruned + pause <= now);
        if may {
            self.pruned = Some(now);
        }
        may
    }

    /// A plugin accepted a message that it sent.
    pub(super) fn accepted(&mut self) {
        self.standing = (self.standing + 1).min(BEST);
    }

    /// A plugin rejected a message that it sent. Whether that was once too often.
    pub(super) fn rejected(&mut self, is_author: bool) -> bool {
        self.standing -= if is_author { ITS_OWN } else { 1 };
        self.standing <= WORST
    }

    /// The bucket is the same there.
    pub(super) fn agrees(&mut self, bucket: &Bucket) {
        self.same.insert(bucket.number, bucket.fingerprint);
        self.listed.remove(&bucket.number);
        if self.same.len() > MAX_BUCKETS {
            self.same.pop_first();
        }
    }

    /// Whether the neighbour is known to know all of this, and nothing else.
    pub(super) fn has(&self, bucket: &Bucket) -> bool {
        self.same.get(&bucket.number) == Some(&bucket.fingerprint)
    }

    /// The bucket is another one there; whether to ask for its messages, again.
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
