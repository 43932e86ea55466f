//! What is published: a message, signed by its author, and its names.

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

/// Before what names a message, so that its hash is nothing else's.
const NAMED: &[u8] = b"polypeer/1 gossip message\0";
/// Before what is signed, so that a signature for one use is none for another.
const SIGNED: &[u8] = b"polypeer/1 gossip\0";
/// Before the name of a topic when it is hashed.
const TOPIC: &[u8] = b"polypeer/1 gossip topic\0";

/// How long after its time a message is taken, seconds: longer than clocks differ and repair takes, and short enough to
/// remember the ids of all messages that could still be replayed.
pub const MESSAGE_LIFETIME: u64 = 900;
/// How far in the future a message's time may be, seconds: clocks differ.
pub const MESSAGE_SKEW: u64 = 600;

/// A message to all subscribers of a topic. Made by its author or read from a frame; never changed.
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

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A payload over the limit.
    #[error("a gossip message of over {MAX_GOSSIP} bytes")]
    TooLarge,
    /// Its time is too long ago.
    #[error("a gossip message older than {MESSAGE_LIFETIME} s")]
    Old,
    /// Its time has not come.
    #[error("a gossip message from over {MESSAGE_SKEW} s in the future")]
    Early,
    /// Not signed by its author.
    #[error("a gossip message with a wrong signature")]
    Signature,
}

impl Message {
    /// Makes and signs this node's message. `sequence` tells messages of one second apart.
    pub fn sign(keys: &dyn Keys, topic: Name, sequence: u64, payload: Payload, now: Now) -> Self {
        let signature = Signature([0; 64]);
        let id = OnceLock::new();
        let mut message = Self { topic, author: keys.node(), sequence, time: now.unix, payload, signature, id };
        message.signature = keys.sign(&message.signed_bytes());
        message
    }

    /// To whom.
    pub fn topic(&self) -> &Name {
        &self.topic
    }

    /// Who published it.
    pub fn author(&self) -> NodeId {
        self.author
    }

    /// When it was published by its author's clock, Unix seconds.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// What it says.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Its name: BLAKE3 of everything but the signature. Made once.
    pub fn id(&self) -> Hash {
        *self.id.get_or_init(|| {
            let mut bytes = NAMED.to_vec();
            let fields = (&self.topic, &self.author, self.sequence, self.time, &self.payload);
            codec::encode(&fields, &mut bytes).expect("names and payloads are limited");
            Hash(*blake3::hash(&bytes).as_bytes())
        })
    }

    /// Its name among the neighbours of a topic.
    pub fn short(&self) -> MessageId {
        MessageId::of(&self.id())
    }

    /// What the signature covers: [`SIGNED`], then the id.
    fn signed_bytes(&self) -> Vec<u8> {
        [SIGNED, &self.id().0].concat()
    }

    /// Bytes it takes in memory, near enough.
    pub fn size(&self) -> usize {
        self.payload.0.len() + self.topic.as_str().len() + size_of::<Self>()
    }

    /// Fails unless it may be taken at this moment, the signature aside.
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

    /// Fails unless its author signed it.
    pub fn check_signature(&self, keys: &dyn Keys) -> Result<(), BadMessage> {
        match keys.verify(&self.author, &self.signed_bytes(), &self.signature) {
            true => Ok(()),
            false => Err(BadMessage::Signature),
        }
    }

    /// The last second at which it is taken.
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

/// What neighbours call a topic: 16 bytes of its name's BLAKE3. Who does not know the topic does not learn it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// Of the topic with this name.
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

/// What neighbours call a message: the first 16 bytes of its id. Nobody can make one that has the name of another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// Of the message with this id.
    pub fn of(id: &Hash) -> Self {
        Self(first_half(&id.0))
    }

    /// Eight bytes of it, for fingerprints of sets.
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
