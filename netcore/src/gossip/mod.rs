//! Publish and subscribe: messages to all subscribers of a topic.

mod config;
pub mod driver;
pub mod message;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::gateway::{Payload, TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use crate::address::{AddressRecord, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;
pub use config::GossipConfig;
pub use message::{Message, MessageId, TopicId};
pub use wire::Frame;

/// What the machine wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a frame to a peer that is up.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// A message for the subscribers on this node.
    Deliver {
        /// Of which topic.
        topic: Name,
        /// What.
        message: Arc<Message>,
    },
    /// Connect to a peer; answered by [`Gossip::peer_up`] or [`Gossip::connect_failed`].
    Connect {
        /// Where it is.
        record: Arc<AddressRecord>,
    },
    /// The connection with a peer is in use from now on.
    Keep {
        /// Whom.
        peer: NodeId,
    },
    /// It is not any more.
    Release {
        /// Whom.
        peer: NodeId,
    },
    /// Find subscribers of a topic; answered by [`Gossip::subscribers`], also when there are none.
    FindSubscribers {
        /// Of what.
        topic: Name,
    },
    /// Say where others look that this node is subscribed.
    Announce {
        /// To what.
        topic: Name,
    },
    /// Say it no longer.
    Withdraw {
        /// Of what.
        topic: Name,
    },
    /// A peer did what counts against it.
    Blame {
        /// Who.
        peer: NodeId,
        /// What.
        why: Misbehaviour,
    },
}

/// What a peer does that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A message nobody may pass on.
    #[error(transparent)]
    Message(#[from] message::BadMessage),
}

/// Why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A payload over the limit.
    #[error("message of {length} bytes; the limit is {MAX_GOSSIP}")]
    TooLarge {
        /// Of the payload.
        length: usize,
    },
    /// The node takes part in as many topics as it can.
    #[error("this node takes part in {limit} topics already")]
    TooManyTopics {
        /// How many.
        limit: usize,
    },
}

/// What happened in all topics, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GossipStats {
    /// Messages delivered to this node.
    pub delivered: u64,
    /// Further copies received.
    pub duplicates: u64,
}

/// Gossip of one node.
pub struct Gossip {
    keys: SharedKeys,
    config: GossipConfig,
    sequence: u64,
    topics: BTreeMap<TopicId, (Name, BTreeSet<MessageId>)>,
    peers: BTreeSet<NodeId>,
    outputs: VecDeque<Output>,
    stats: GossipStats,
}

impl Gossip {
    /// Takes part in nothing yet. `seed` is where its randomness comes from.
    pub fn new(keys: SharedKeys, config: GossipConfig, seed: [u8; 32]) -> Self {
        let sequence = u64::from_le_bytes(std::array::from_fn(|at| seed[at]));
        Self {
            keys,
            config,
            sequence,
            topics: BTreeMap::new(),
            peers: BTreeSet::new(),
            outputs: VecDeque::new(),
            stats: GossipStats::default(),
        }
    }

    /// Where this node can be reached: its own records, each of one zone; none when it cannot be.
    pub fn set_own(&mut self, _now: Now, _records: Vec<Arc<AddressRecord>>) {}

    /// Takes part in a topic from now on, or changes who decides what is passed on.
    pub fn subscribe(&mut self, _now: Now, topic: Name, _validation: Validation) {
        self.topics.entry(TopicId::of(&topic)).or_insert_with(|| (topic, BTreeSet::new()));
    }

    /// Takes part no longer.
    pub fn unsubscribe(&mut self, _now: Now, topic: &Name) {
        self.topics.remove(&TopicId::of(topic));
    }

    /// Publishes a message of this node; it is not delivered to this node itself. Returns its id and how many peers it
    /// is sent to at once.
    pub fn publish(&mut self, now: Now, topic: Name, payload: Bytes) -> Result<(Hash, u32), PublishError> {
        if payload.len() > MAX_GOSSIP {
            return Err(PublishError::TooLarge { length: payload.len() });
        }
        self.sequence = self.sequence.wrapping_add(1);
        let message = Arc::new(Message::sign(&*self.keys, topic, self.sequence, Payload(payload), now));
        let id = message.id();
        if let Some((_, known)) = self.topics.get_mut(&TopicId::of(message.topic())) {
            known.insert(message.short());
        }
        for &to in &self.peers {
            self.outputs.push_back(Output::Send { to, frame: Frame::Push { hops: 0, message: Arc::clone(&message) } });
        }
        Ok((id, self.peers.len() as u32))
    }

    /// Decides on a message that was delivered in a topic with [`Validation::Plugin`]; ignored when it is too late.
    pub fn judge(&mut self, _now: Now, _topic: &Name, _message: Hash, _verdict: Verdict) {}

    /// A peer is connected. `zone` is that of its address: it is told only records that mean something there.
    pub fn peer_up(&mut self, _now: Now, peer: NodeId, _zone: Zone) {
        self.peers.insert(peer);
    }

    /// It is connected no longer.
    pub fn peer_down(&mut self, _now: Now, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// It could not be connected ([`Output::Connect`]).
    pub fn connect_failed(&mut self, _now: Now, _peer: NodeId) {}

    /// A frame came. An error is a breach of the protocol.
    pub fn handle_frame(&mut self, now: Now, from: NodeId, frame: Frame) -> Result<(), Misbehaviour> {
        if let Frame::Push { hops, message } = frame {
            message.check_time(now)?;
            let Some((_, known)) = self.topics.get_mut(&TopicId::of(message.topic())) else { return Ok(()) };
            if !known.insert(message.short()) {
                self.stats.duplicates += 1;
                return Ok(());
            }
            message.check_signature(&*self.keys)?;
            self.stats.delivered += 1;
            self.outputs.push_back(Output::Deliver { topic: message.topic().clone(), message: Arc::clone(&message) });
            for &to in self.peers.iter().filter(|peer| **peer != from) {
                let frame = Frame::Push { hops: hops.saturating_add(1), message: Arc::clone(&message) };
                self.outputs.push_back(Output::Send { to, frame });
            }
        }
        Ok(())
    }

    /// Subscribers that were found ([`Output::FindSubscribers`]).
    pub fn subscribers(&mut self, _now: Now, _topic: &Name, _found: Vec<Arc<AddressRecord>>) {}

    /// What is to be done next, until there is nothing.
    pub fn poll(&mut self, _now: Now) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// How a topic fares; `None` unless subscribed.
    pub fn info(&self, topic: &Name) -> Option<TopicInfo> {
        self.topics.contains_key(&TopicId::of(topic)).then(|| TopicInfo {
            neighbours: self.peers.len() as u32,
            delivered: self.stats.delivered,
            duplicates: self.stats.duplicates,
            dropped: 0,
            pulled: 0,
        })
    }

    /// What happened in all topics.
    pub fn stats(&self) -> GossipStats {
        self.stats
    }

    /// What it was made with.
    pub fn config(&self) -> &GossipConfig {
        &self.config
    }
}
