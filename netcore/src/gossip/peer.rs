//! What is known of one connected peer, in all topics together: how much it may send, and whether it keeps its word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::allowance::{Allowance, Rate};
use super::message::TopicId;
use crate::address::{AddressRecord, Zone};

/// Frames of one peer: hundreds of topics' worth of digests, names and pushes.
const FRAMES: Rate = Rate { rate: 1000.0, burst: 8000.0 };
/// Bytes of one peer: 64 Mbit/s.
const BYTES: Rate = Rate { rate: (8 << 20) as f64, burst: (32 << 20) as f64 };
/// Messages of one peer that are new here, each of which costs the check of a signature: 5 % of a processor.
const MESSAGES: Rate = Rate { rate: 500.0, burst: 4000.0 };
/// Address records of one peer that are new here, likewise.
const RECORDS: Rate = Rate { rate: 20.0, burst: 500.0 };
/// Requests of one peer that are answered with records or a `Leave`.
const REQUESTS: Rate = Rate { rate: 20.0, burst: 1000.0 };
/// Bytes sent to one peer because it asked.
const SERVED: Rate = Rate { rate: (4 << 20) as f64, burst: (16 << 20) as f64 };
/// Refusals for any of these: a peer that goes on costs more than it is worth.
const EXCESS: Rate = Rate { rate: 20.0, burst: 5000.0 };

/// Messages asked of one peer and not here yet.
pub(super) const MAX_ASKED: usize = 64;
/// Messages that one peer was the first to name and that are not here yet.
pub(super) const MAX_PROMISED: usize = 512;
/// The best standing: what a peer earned long ago does not count for ever.
const BEST: i32 = 30;
/// The standing at which a peer is not believed any more. With one frame in twenty lost an honest one keeps nine of ten
/// promises, and is nowhere near.
const WORST: i32 = -20;

/// What a peer may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a frame, and the frame.
    Frame,
    /// New messages.
    Message,
    /// New address records.
    Record,
    /// Requests.
    Request,
    /// Bytes that it asked for.
    Served,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Of its address.
    pub(super) zone: Zone,
    /// What it says it is subscribed to.
    pub(super) topics: BTreeSet<TopicId>,
    /// What it signed of itself; checked.
    pub(super) record: Option<Arc<AddressRecord>>,
    /// Whether it was told this node's topics.
    pub(super) told: bool,
    /// Topics in which it is a neighbour.
    pub(super) uses: usize,
    /// Messages asked of it and not here yet.
    pub(super) asked: usize,
    /// Messages it was the first to name and that are not here yet.
    pub(super) promised: usize,
    /// When it last said anything.
    pub(super) heard: Instant,
    standing: i32,
    frames: Allowance,
    bytes: Allowance,
    messages: Allowance,
    records: Allowance,
    requests: Allowance,
    served: Allowance,
    excess: Allowance,
}

impl Peer {
    pub(super) fn new(zone: Zone, now: Instant) -> Self {
        Self {
            zone,
            topics: BTreeSet::new(),
            record: None,
            told: false,
            uses: 0,
            asked: 0,
            promised: 0,
            heard: now,
            standing: 0,
            frames: Allowance::new(FRAMES, now),
            bytes: Allowance::new(BYTES, now),
            messages: Allowance::new(MESSAGES, now),
            records: Allowance::new(RECORDS, now),
            requests: Allowance::new(REQUESTS, now),
            served: Allowance::new(SERVED, now),
            excess: Allowance::new(EXCESS, now),
        }
    }

    /// Whether it may do `amount` of `kind` now.
    pub(super) fn may(&mut self, kind: Kind, amount: usize, now: Instant) -> bool {
        match kind {
            Kind::Frame => self.frames.take(FRAMES, 1, now) && self.bytes.take(BYTES, amount, now),
            Kind::Message => self.messages.take(MESSAGES, amount, now),
            Kind::Record => self.records.take(RECORDS, amount, now),
            Kind::Request => self.requests.take(REQUESTS, amount, now),
            Kind::Served => self.served.take(SERVED, amount, now),
        }
    }

    /// One more refusal; whether that is too many.
    pub(super) fn exceeds(&mut self, now: Instant) -> bool {
        !self.excess.take(EXCESS, 1, now)
    }

    /// A message that was asked of it came.
    pub(super) fn kept_promise(&mut self) {
        self.standing = (self.standing + 1).min(BEST);
    }

    /// A message that was asked of it did not come. Whether that was once too often; it then starts again half-way.
    pub(super) fn broke_promise(&mut self) -> bool {
        self.standing -= 1;
        let lost = self.standing <= WORST;
        if lost {
            self.standing = WORST / 2;
        }
        lost
    }
}
