//! Gossip messages, signed by their authors, and the ids of messages and topics.

use std::fmt;
use std::sync::OnceLock;

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;
use polypeer_ipc_protocol::record::Signature;
use serde::{Deserialize, Serialize};

use crate::keys::Keys;
use crate::now::Now;

/// Prefix of the bytes hashed to a message's id, so that the hash differs from hashes for any other use.
const NAMED: &[u8] = b"polypeer/1 gossip message\0";
/// Prefix of the signed bytes, so that a signature is valid for this use only.
const SIGNED: &[u8] = b"polypeer/1 gossip\0";
/// Prefix of a topic's name when it is hashed.
const TOPIC: &[u8] = b"polypeer/1 gossip topic\0";

/// How long after its time a message is accepted, seconds: longer than clocks differ and repair takes, and short enough
/// to remember the ids of all messages that could still be replayed.
pub const MESSAGE_LIFETIME: u64 = 900;
/// How far in the future a message's time may be, seconds, because clocks differ.
pub const MESSAGE_SKEW: u64 = 600;

/// A message to all subscribers of a topic, made by its author or read from a frame. Immutable.
#[derive(Clone, Serialize, Deserialize)]
pub struct Message {
    topic: Name,
    author: NodeId,
    sequence: u64,
    time: u64,
    payload: Payload,
    signature: Signature,
    #[serde(skip)]
    id: OnceLock<Hash>,
}

/// Reason to reject a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// The payload exceeds [`MAX_GOSSIP`].
    #[error("a gossip message of more than {MAX_GOSSIP} bytes")]
    TooLarge,
    /// Its time is more than [`MESSAGE_LIFETIME`] ago.
    #[error("a gossip message more than {MESSAGE_LIFETIME} s old")]
    Old,
    /// Its time is more than [`MESSAGE_SKEW`] in the future.
    #[error("a gossip message more than {MESSAGE_SKEW} s in the future")]
    Early,
    /// The signature is not the author's.
    #[error("a gossip message with a wrong signature")]
    Signature,
}

impl Message {
    /// Makes and signs a message of this node. `sequence` distinguishes messages of the same second.
    pub fn sign(keys: &dyn Keys, topic: Name, sequence: u64, payload: Payload, now: Now) -> Self {
        let signature = Signature([0; 64]);
        let id = OnceLock::new();
        let mut message = Self { topic, author: keys.node(), sequence, time: now.unix, payload, signature, id };
        message.signature = keys.sign(&message.signed_bytes());
        message
    }

    pub fn topic(&self) -> &Name {
        &self.topic
    }

    pub fn author(&self) -> NodeId {
        self.author
    }

    /// Time of publishing by the author's clock, Unix seconds.
    pub fn time(&self) -> u64 {
        self.time
    }

    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// BLAKE3 hash of everything but the signature; computed once.
    pub fn id(&self) -> Hash {
        *self.id.get_or_init(|| {
            let mut bytes = NAMED.to_vec();
            let fields = (&self.topic, &self.author, self.sequence, self.time, &self.payload);
            codec::encode(&fields, &mut bytes).expect("names and payloads are limited");
            Hash(*blake3::hash(&bytes).as_bytes())
        })
    }

    /// The short id that frames use for it.
    pub fn short(&self) -> MessageId {
        MessageId::of(&self.id())
    }

    /// The signed bytes: [`SIGNED`], then the id.
    fn signed_bytes(&self) -> Vec<u8> {
        [SIGNED, &self.id().0].concat()
    }

    /// Approximate size in memory, bytes.
    pub fn size(&self) -> usize {
        self.payload.0.len() + self.topic.as_str().len() + size_of::<Self>()
    }

    /// Checks its size and time; the signature aside.
    pub fn check_time(&self, now: Now) -> Result<(), BadMessage> {
        if self.payload.0.len() > MAX_GOSSIP {
            return Err(BadMessage::TooLarge);
        }
        if self.time > now.unix.saturating_add(MESSAGE_SKEW) {
            return Err(BadMessage::Early);
        }
        if self.expires() < now.unix {
            return Err(BadMessage::Old);
        }
        Ok(())
    }

    /// Checks the author's signature.
    pub fn check_signature(&self, keys: &dyn Keys) -> Result<(), BadMessage> {
        match keys.verify(&self.author, &self.signed_bytes(), &self.signature) {
            true => Ok(()),
            false => Err(BadMessage::Signature),
        }
    }

    /// The last second at which it is accepted, Unix time.
    pub fn expires(&self) -> u64 {
        self.time.saturating_add(MESSAGE_LIFETIME)
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && self.signature == other.signature
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?} {:?} by {:?}, {:?})", self.id(), self.topic, self.author, self.payload)
    }
}

/// Id of a topic in frames: the first 16 bytes of the BLAKE3 hash of its name. A peer that does not know the name does
/// not learn it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    pub fn of(topic: &Name) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(TOPIC).update(topic.as_str().as_bytes());
        Self(first_half(hasher.finalize().as_bytes()))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }
}

/// Id of a message in frames: the first 16 bytes of [`Message::id`]. Nobody can make another message with the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    pub fn of(id: &Hash) -> Self {
        Self(first_half(&id.0))
    }

    /// Its first eight bytes, for fingerprints of sets.
    pub(super) fn bits(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.bits().swap_bytes())
    }
}

fn first_half(bytes: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|at| bytes[at])
}
