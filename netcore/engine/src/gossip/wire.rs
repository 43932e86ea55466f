//! What travels on a stream of `gossip/1`, as types; `PROTOCOL.md` section 13 owns the bytes.

use std::sync::Arc;

use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::limits::MAX_GOSSIP;
use serde::{Deserialize, Serialize};

use super::message::{Message, MessageId, TopicId};
use crate::address::AddressRecord;
use crate::bounded;

/// Largest body of a frame, bytes: the largest message, its topic, author, times and signature.
pub const MAX_BODY: usize = MAX_GOSSIP + 512;
/// Topics that a node tells a peer of: eight plugins of the most topics a session may have.
pub const MAX_TOPICS_TOLD: usize = 512;
/// Address records in one frame: as many as a few packets carry.
pub const MAX_RECORDS: usize = 8;
/// Messages named in one frame: 4 KiB of names.
pub const MAX_IDS: usize = 256;
/// Parts of the recent past compared in one digest.
pub const MAX_BUCKETS: usize = 32;

/// A frame of `gossip/1`. Tags are their order: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// All topics the sender is subscribed to; replaces what it said before.
    Topics {
        /// At most [`MAX_TOPICS_TOLD`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_TOPICS_TOLD>")]
        topics: Vec<TopicId>,
    },
    /// The sender wants to be the receiver's neighbour in a topic.
    Join {
        /// Of what.
        topic: TopicId,
        /// Nobody pushes to it: messages are to be pushed between the two, and somebody else may have to go.
        urgent: bool,
        /// Where the sender can be reached, if it can.
        record: Option<Arc<AddressRecord>>,
    },
    /// The answer to [`Frame::Join`].
    Joined {
        /// Of what.
        topic: TopicId,
        /// Whether the two are neighbours now.
        accepted: bool,
        /// Other subscribers, the sender among them; at most [`MAX_RECORDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS>")]
        records: Vec<Arc<AddressRecord>>,
    },
    /// The two are not neighbours in a topic (any more).
    Leave {
        /// Of what.
        topic: TopicId,
    },
    /// Some subscribers that the sender knows; asks for as many back.
    Shuffle {
        /// Of what.
        topic: TopicId,
        /// Whether this is the answer, which is not answered.
        answer: bool,
        /// At most [`MAX_RECORDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS>")]
        records: Vec<Arc<AddressRecord>>,
    },
    /// A message.
    Push {
        /// How many nodes it came through, the author not counted; 255 is that or more.
        hops: u8,
        /// Whether somebody had to ask for it on its way: a second copy then says nothing about the tree.
        repair: bool,
        /// The message.
        message: Arc<Message>,
    },
    /// Messages that the sender has.
    Have {
        /// Of what.
        topic: TopicId,
        /// Whether this answers [`Frame::List`]: they are not about to be pushed.
        answer: bool,
        /// What they are called, and how many nodes each came through to be at the sender; at most [`MAX_IDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IDS>")]
        messages: Vec<(MessageId, u8)>,
    },
    /// Asks for messages.
    Want {
        /// Of what.
        topic: TopicId,
        /// Whether the sender also wants all further ones pushed.
        graft: bool,
        /// At most [`MAX_IDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IDS>")]
        messages: Vec<MessageId>,
    },
    /// The sender has messages from elsewhere sooner: they are to be named, not pushed.
    Prune {
        /// Of what.
        topic: TopicId,
    },
    /// What the sender knows of the recent past, to be compared; also says that the two are neighbours.
    Digest {
        /// Of what.
        topic: TopicId,
        /// At most [`MAX_BUCKETS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_BUCKETS>")]
        buckets: Vec<Bucket>,
    },
    /// Asks which messages of these buckets the receiver has; answered by [`Frame::Have`].
    List {
        /// Of what.
        topic: TopicId,
        /// Their numbers, at most [`MAX_BUCKETS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_BUCKETS>")]
        buckets: Vec<u32>,
    },
}

/// Tags below this are known.
const KNOWN: u32 = 11;

/// All messages of one span of time, by their authors' clocks, as one node knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The time divided by [`BUCKET`].
    pub number: u32,
    /// How many.
    pub count: u32,
    /// The first eight bytes of their ids, exclusive-or.
    pub fingerprint: u64,
}

/// Length of a [`Bucket`], seconds.
pub const BUCKET: u64 = 16;

/// Appends a frame, its length before it.
pub fn write_frame(message: &Frame, out: &mut Vec<u8>) {
    frame::write(message, out).expect("every list and payload of a gossip frame is limited by its maker");
}

/// Reads a frame without its length; `None` when it is of a later version.
pub fn read_body(body: &[u8]) -> Result<Option<Frame>, CodecError> {
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) >= KNOWN => Ok(None),
        _ => codec::decode(body).map(Some),
    }
}

impl Frame {
    /// Bytes it takes on the wire, header included, near enough and without encoding it.
    pub fn size(&self) -> usize {
        const RECORD: usize = 160;
        let fields = match self {
            Self::Topics { topics } => 8 + 16 * topics.len(),
            Self::Join { record, .. } => 18 + record.as_ref().map_or(0, |_| RECORD),
            Self::Joined { records, .. } | Self::Shuffle { records, .. } => 25 + RECORD * records.len(),
            Self::Leave { .. } | Self::Prune { .. } => 16,
            Self::Push { message, .. } => 2 + 136 + message.topic().as_str().len() + message.payload().0.len(),
            Self::Have { messages, .. } => 25 + 17 * messages.len(),
            Self::Want { messages, .. } => 25 + 16 * messages.len(),
            Self::Digest { buckets, .. } => 24 + 16 * buckets.len(),
            Self::List { buckets, .. } => 24 + 4 * buckets.len(),
        };
        frame::HEADER + 4 + fields
    }

    /// Bytes of a published payload in it; the rest is control.
    pub fn payload(&self) -> usize {
        match self {
            Self::Push { message, .. } => message.payload().0.len(),
            _ => 0,
        }
    }
}
