//! What is known of one connected peer, in all topics together: how much it may send, and whether it keeps its word.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::TopicId;
use crate::address::{AddressRecord, Zone};
use crate::rate::{Bucket, Rate};

/// Frames of one peer: hundreds of topics' worth of digests, names and pushes.
const FRAMES: Rate = Rate { burst: 8000, per_second: 1000 };
/// Bytes of one peer: 64 Mbit/s.
const BYTES: Rate = Rate { burst: 32 << 20, per_second: 8 << 20 };
/// Messages of one peer that are new here, each of which costs the check of a signature: 5 % of a processor.
const MESSAGES: Rate = Rate { burst: 4000, per_second: 500 };
/// Address records of one peer that are new here, likewise.
const RECORDS: Rate = Rate { burst: 500, per_second: 20 };
/// Requests of one peer that are answered with records or a `Leave`.
const REQUESTS: Rate = Rate { burst: 1000, per_second: 20 };
/// Bytes sent to one peer because it asked.
const SERVED: Rate = Rate { burst: 16 << 20, per_second: 4 << 20 };
/// Frames that are not looked at: so many more than are read nobody sends by mistake. What is refused for any
/// other reason is not held against a peer: it passes on what others publish, and cannot know what else there is.
const EXCESS: Rate = Rate { burst: 2000, per_second: 20 };

/// What is sent to one peer, so that it takes everything: the rest is for bursts that the network makes of it.
const FRAMES_SENT: Rate = Rate { burst: 6400, per_second: 800 };
/// The same, in bytes.
const BYTES_SENT: Rate = Rate { burst: 24 << 20, per_second: 6 << 20 };
/// New messages pushed or named to one peer.
const GIVEN: Rate = Rate { burst: 2800, per_second: 350 };
/// Messages pushed to one peer because it asked; with [`GIVEN`] nine tenths of [`MESSAGES`].
const ANSWERED: Rate = Rate { burst: 800, per_second: 100 };
/// Messages asked of one peer: fewer than it answers, so that it keeps its promises.
const ASKED: Rate = Rate { burst: 640, per_second: 80 };

/// Between two good marks for messages that were right: no more of them than an hour of standing connection is worth, however
/// many somebody publishes for their sake.
const CREDITED: Duration = Duration::from_secs(30);
/// Between two bad marks for messages that a plugin rejected: the word of one plugin alone has nobody banned for all others.
const BLAMED: Duration = Duration::from_secs(3600);

/// Messages asked of one peer and not here yet.
pub(super) const MAX_ASKED: usize = 64;
/// Messages that one peer was the first to name and that are not here yet.
pub(super) const MAX_PROMISED: usize = 512;
/// The best standing: what a peer earned long ago does not count for ever.
const BEST: i32 = 30;
/// The standing at which a peer is not believed any more. With one frame in twenty lost an honest one keeps nine of ten
/// promises, and is nowhere near.
const WORST: i32 = -20;
/// Promises that count as broken of all those that a peer broke while it said nothing: its connection may be about to be lost, or
/// to be slow for a moment.
const SILENT: i32 = 5;

/// What a peer may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// New messages.
    Message,
    /// New address records.
    Record,
    /// Requests.
    Request,
    /// Bytes that it asked for.
    Served,
    /// New messages given to it, whole or by name.
    Given,
    /// Messages that it asked for.
    Answered,
    /// Messages asked of it.
    Asked,
}

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Of its address.
    pub(super) zone: Zone,
    /// Where its packets came from when it was connected.
    pub(super) ip: IpAddr,
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
    /// Promises broken since it last said anything, at most [`SILENT`].
    silent: i32,
    frames: Bucket,
    bytes: Bucket,
    messages: Bucket,
    records: Bucket,
    requests: Bucket,
    served: Bucket,
    excess: Bucket,
    frames_sent: Bucket,
    bytes_sent: Bucket,
    given: Bucket,
    answered: Bucket,
    asking: Bucket,
    credited: Option<Instant>,
    blamed: Option<Instant>,
}

/// Whether `span` has passed since; from now on it is counted anew if so.
fn again(since: &mut Option<Instant>, span: Duration, now: Instant) -> bool {
    let passed = since.is_none_or(|since| since + span <= now);
    if passed {
        *since = Some(now);
    }
    passed
}

impl Peer {
    pub(super) fn new(ip: IpAddr, now: Instant) -> Self {
        Self {
            zone: Zone::of(ip),
            ip,
            topics: BTreeSet::new(),
            record: None,
            told: false,
            uses: 0,
            asked: 0,
            promised: 0,
            heard: now,
            standing: 0,
            silent: 0,
            frames: Bucket::new(FRAMES),
            bytes: Bucket::new(BYTES),
            messages: Bucket::new(MESSAGES),
            records: Bucket::new(RECORDS),
            requests: Bucket::new(REQUESTS),
            served: Bucket::new(SERVED),
            excess: Bucket::new(EXCESS),
            frames_sent: Bucket::new(FRAMES_SENT),
            bytes_sent: Bucket::new(BYTES_SENT),
            given: Bucket::new(GIVEN),
            answered: Bucket::new(ANSWERED),
            asking: Bucket::new(ASKED),
            credited: None,
            blamed: None,
        }
    }

    /// Whether it may do `amount` of `kind` now.
    pub(super) fn may(&mut self, kind: Kind, amount: usize, now: Instant) -> bool {
        match kind {
            Kind::Message => self.messages.take(amount, now),
            Kind::Record => self.records.take(amount, now),
            Kind::Request => self.requests.take(amount, now),
            Kind::Served => self.served.take(amount, now),
            Kind::Given => self.given.take(amount, now),
            Kind::Answered => self.answered.take(amount, now),
            Kind::Asked => self.asking.take(amount, now),
        }
    }

    /// Whether a frame of it, of `size` bytes, is looked at.
    pub(super) fn is_read(&mut self, size: usize, now: Instant) -> bool {
        self.frames.take(1, now) && self.bytes.take(size, now)
    }

    /// One more frame that was not; whether that is too many.
    pub(super) fn exceeds(&mut self, now: Instant) -> bool {
        !self.excess.take(1, now)
    }

    /// Whether it takes a frame of `size` bytes.
    pub(super) fn takes(&mut self, size: usize, now: Instant) -> bool {
        self.frames_sent.take(1, now) && self.bytes_sent.take(size, now)
    }

    /// A message that it passed on was right; whether it gets a good mark for it.
    pub(super) fn is_credited(&mut self, now: Instant) -> bool {
        again(&mut self.credited, CREDITED, now)
    }

    /// A plugin rejected a message that it published; whether it gets a bad mark for it.
    pub(super) fn is_blamed(&mut self, now: Instant) -> bool {
        again(&mut self.blamed, BLAMED, now)
    }

    /// A message that was asked of it came.
    pub(super) fn kept_promise(&mut self) {
        self.standing = (self.standing + 1).min(BEST);
    }

    /// It said something. What it did not send while it was silent counts from now on.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.standing -= std::mem::take(&mut self.silent);
    }

    /// A message that was asked of it at `since` did not come. Whether that was once too often; it then starts again half-way.
    pub(super) fn broke_promise(&mut self, since: Instant) -> bool {
        if self.heard > since {
            self.standing -= 1;
        } else {
            self.silent = (self.silent + 1).min(SILENT);
        }
        let lost = self.standing <= WORST;
        if lost {
            self.standing = WORST / 2;
        }
        lost
    }
}
