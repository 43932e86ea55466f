//! Frames of `gossip/1`; `PROTOCOL.md` section 13 defines the bytes.

use std::sync::Arc;

use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::limits::MAX_GOSSIP;
use serde::{Deserialize, Serialize};

use super::message::{Message, MessageId, TopicId};
use crate::address::AddressRecord;
use crate::bounded;

/// Largest body of a frame, bytes: the largest message with its topic, author, times and signature.
pub const MAX_BODY: usize = MAX_GOSSIP + 512;
/// Topics that a node tells a peer: eight plugins with the most topics that a session may have.
pub const MAX_TOPICS_TOLD: usize = 512;
/// Address records in one frame: what a few packets carry.
pub const MAX_RECORDS: usize = 8;
/// Message ids in one frame: 4 KiB of ids.
pub const MAX_IDS: usize = 256;
/// Buckets of the recent past compared in one digest.
pub const MAX_BUCKETS: usize = 32;

/// A frame of `gossip/1`. The variants' order gives their tags: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// All topics that the sender is subscribed to; replaces the previous list.
    Topics {
        /// At most [`MAX_TOPICS_TOLD`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_TOPICS_TOLD>")]
        topics: Vec<TopicId>,
    },
    /// The sender wants to be the receiver's neighbour in a topic.
    Join {
        topic: TopicId,
        /// The sender has no neighbour that pushes to it: the two push messages to each other, and the receiver may
        /// drop another neighbour for it.
        urgent: bool,
        /// The sender's own record; `None` when it cannot be dialed.
        record: Option<Arc<AddressRecord>>,
    },
    /// Answers [`Frame::Join`].
    Joined {
        topic: TopicId,
        /// Whether the two are neighbours from now on.
        accepted: bool,
        /// Other subscribers, the sender among them; at most [`MAX_RECORDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS>")]
        records: Vec<Arc<AddressRecord>>,
    },
    /// The sender is not a neighbour of the receiver in a topic, or no longer.
    Leave { topic: TopicId },
    /// Subscribers that the sender knows; the receiver answers with some that it knows.
    Shuffle {
        topic: TopicId,
        /// Whether this is the answer, which is not answered.
        answer: bool,
        /// At most [`MAX_RECORDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS>")]
        records: Vec<Arc<AddressRecord>>,
    },
    /// Carries a message.
    Push {
        /// Number of nodes that passed the message on, the author not counted; 255 stands for 255 or more.
        hops: u8,
        /// Whether a node on its path had to request it: a duplicate then says nothing about the tree.
        repair: bool,
        message: Arc<Message>,
    },
    /// Announces messages that the sender has.
    Have {
        topic: TopicId,
        /// Whether this answers [`Frame::List`], or repeats earlier announcements: the messages are not about to be
        /// pushed.
        answer: bool,
        /// Each message's id and hops, as the sender would push it; at most [`MAX_IDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IDS>")]
        messages: Vec<(MessageId, u8)>,
    },
    /// Requests messages.
    Want {
        topic: TopicId,
        /// Whether the sender wants all further messages pushed, too.
        graft: bool,
        /// At most [`MAX_IDS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_IDS>")]
        messages: Vec<MessageId>,
    },
    /// The sender receives messages sooner from elsewhere: the receiver announces them instead of pushing.
    Prune { topic: TopicId },
    /// The sender's buckets of the recent past, to be compared; also a keepalive between neighbours.
    Digest {
        topic: TopicId,
        /// At most [`MAX_BUCKETS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_BUCKETS>")]
        buckets: Vec<Bucket>,
    },
    /// Requests the ids of the receiver's messages in these buckets; answered by [`Frame::Have`].
    List {
        topic: TopicId,
        /// Numbers of the buckets; at most [`MAX_BUCKETS`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_BUCKETS>")]
        buckets: Vec<u32>,
    },
}

/// The first unknown tag.
const KNOWN: u32 = 11;

/// The messages of one span of time by their authors' clocks, as one node knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Unix time divided by [`BUCKET`].
    pub number: u32,
    pub count: u32,
    /// Exclusive-or of the first eight bytes of each id.
    pub fingerprint: u64,
}

/// Length of a [`Bucket`], seconds.
pub const BUCKET: u64 = 16;

/// Appends a frame with its length prefix.
pub fn write_frame(message: &Frame, out: &mut Vec<u8>) {
    frame::write(message, out).expect("every list and payload of a gossip frame is limited by its maker");
}

/// Reads a frame without its length prefix; `None` when its tag is unknown: it is of a later version.
pub fn read_body(body: &[u8]) -> Result<Option<Frame>, CodecError> {
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) >= KNOWN => Ok(None),
        _ => codec::decode(body).map(Some),
    }
}

impl Frame {
    /// Approximate size on the wire, header included, bytes; computed without encoding it.
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

    /// Bytes of payload that it carries; the rest is control.
    pub fn payload(&self) -> usize {
        match self {
            Self::Push { message, .. } => message.payload().0.len(),
            _ => 0,
        }
    }
}
