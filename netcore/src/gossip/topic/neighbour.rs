//! What a node knows of one neighbour in one topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::gossip::message::MessageId;
use crate::gossip::wire::{Bucket, MAX_BUCKETS};

/// How often a neighbour is asked for the messages of a bucket that stays different.
const MAX_LISTED: u8 = 4;

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
