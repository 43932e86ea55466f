//! State of one connected peer across all topics: its rate limits, and whether it keeps its promises.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::TopicId;
use crate::address::{AddressRecord, Zone};
use crate::rate::{Bucket, Rate};

/// Frames of one peer: digests, announcements and pushes of hundreds of topics.
const FRAMES: Rate = Rate { burst: 8000, per_second: 1000 };
/// Bytes of one peer: 64 Mbit/s.
const BYTES: Rate = Rate { burst: 32 << 20, per_second: 8 << 20 };
/// New messages of one peer. Each costs the check of a signature: 5 % of a processor in all.
const MESSAGES: Rate = Rate { burst: 4000, per_second: 500 };
/// New address records of one peer, each of which costs the check of a signature, too.
const RECORDS: Rate = Rate { burst: 500, per_second: 20 };
/// Requests of one peer that are answered with records or a `Leave`.
const REQUESTS: Rate = Rate { burst: 1000, per_second: 20 };
/// Bytes sent to one peer at its request.
const SERVED: Rate = Rate { burst: 16 << 20, per_second: 4 << 20 };
/// Excess frames before a peer is disconnected: nobody sends that many by mistake. Nothing else that is dropped for
/// rate limits is held against a peer: it passes on what others publish, and cannot know what others pass on.
const EXCESS: Rate = Rate { burst: 2000, per_second: 20 };

/// Frames sent to one peer: less than [`FRAMES`], so that it reads all; the rest is reserve for bursts that the network
/// makes of them.
const FRAMES_SENT: Rate = Rate { burst: 6400, per_second: 800 };
/// Bytes sent to one peer; likewise less than [`BYTES`].
const BYTES_SENT: Rate = Rate { burst: 24 << 20, per_second: 6 << 20 };
/// New messages pushed or announced to one peer.
const GIVEN: Rate = Rate { burst: 2800, per_second: 350 };
/// Messages pushed to one peer at its request; together with [`GIVEN`] nine tenths of [`MESSAGES`].
const ANSWERED: Rate = Rate { burst: 800, per_second: 100 };
/// Messages requested from one peer: fewer than it answers, so that it keeps its promises.
const ASKED: Rate = Rate { burst: 640, per_second: 80 };

/// Least time between two credits to a peer for valid messages: however much others publish for its sake, it earns no
/// more than by an hour of standing connection.
const CREDITED: Duration = Duration::from_secs(30);
/// Least time between two blames of a peer for rejected messages: one plugin alone cannot have a peer banned for all
/// others.
const BLAMED: Duration = Duration::from_secs(3600);

/// Messages requested from one peer and not yet received.
pub(super) const MAX_ASKED: usize = 64;
/// Messages that one peer was the first to announce and that have not arrived.
pub(super) const MAX_PROMISED: usize = 512;
/// The highest standing: what a peer earned long ago does not count for ever.
const BEST: i32 = 30;
/// The standing at which a peer is blamed and unlinked. With one frame in twenty lost, an honest peer keeps nine of ten
/// promises and stays far above.
const WORST: i32 = -20;
/// Most promises that count as broken during one silence of the peer: its connection may be about to break, or slow for
/// a moment.
const SILENT: i32 = 5;

/// What a rate limit of a peer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// New messages from the peer.
    Message,
    /// New address records from the peer.
    Record,
    /// Requests from the peer.
    Request,
    /// Bytes sent at the peer's request.
    Served,
    /// New messages pushed or announced to the peer.
    Given,
    /// Messages pushed at the peer's request.
    Answered,
    /// Messages requested from the peer.
    Asked,
}

#[derive(Debug)]
pub(super) struct Peer {
    /// Zone of [`Self::ip`].
    pub(super) zone: Zone,
    /// Source of its packets when it connected.
    pub(super) ip: IpAddr,
    /// Topics that it says it is subscribed to.
    pub(super) topics: BTreeSet<TopicId>,
    /// Its own address record, once checked.
    pub(super) record: Option<Arc<AddressRecord>>,
    /// Whether it was told this node's topics.
    pub(super) told: bool,
    /// Number of topics in which it is a neighbour.
    pub(super) uses: usize,
    /// Messages requested from it and not yet received; at most [`MAX_ASKED`].
    pub(super) asked: usize,
    /// Messages that it was the first to announce and that have not arrived; at most [`MAX_PROMISED`].
    pub(super) promised: usize,
    /// When its last frame arrived.
    pub(super) heard: Instant,
    standing: i32,
    /// Promises broken since its last frame; at most [`SILENT`].
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

/// Whether `span` has passed since `since`; if so, sets `since` to `now`.
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

    /// Takes `amount` from the rate limit of `kind`; `false` if it is exhausted.
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

    /// Whether its frame of `size` bytes is within its rate limits.
    pub(super) fn is_read(&mut self, size: usize, now: Instant) -> bool {
        self.frames.take(1, now) && self.bytes.take(size, now)
    }

    /// Counts a frame beyond the rate limits; whether there are too many.
    pub(super) fn exceeds(&mut self, now: Instant) -> bool {
        !self.excess.take(1, now)
    }

    /// Whether a frame of `size` bytes may be sent to it.
    pub(super) fn takes(&mut self, size: usize, now: Instant) -> bool {
        self.frames_sent.take(1, now) && self.bytes_sent.take(size, now)
    }

    /// Whether to credit it now for a valid message that it passed on.
    pub(super) fn is_credited(&mut self, now: Instant) -> bool {
        again(&mut self.credited, CREDITED, now)
    }

    /// Whether to blame it now for a message of its own that a plugin rejected.
    pub(super) fn is_blamed(&mut self, now: Instant) -> bool {
        again(&mut self.blamed, BLAMED, now)
    }

    /// Raises its standing: a requested message arrived.
    pub(super) fn kept_promise(&mut self) {
        self.standing = (self.standing + 1).min(BEST);
    }

    /// Notes that a frame arrived. Promises broken during the silence count from now on.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.standing -= std::mem::take(&mut self.silent);
    }

    /// Counts a message that it did not send, requested at `since`. Returns whether its standing is exhausted; it then
    /// restarts half-way.
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
