//! Outputs, errors and counters of the gossip engine.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::{Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use super::message::{BadMessage, Message};
use super::wire::Frame;
use crate::address::{AddressRecord, BadRecord};

/// An action for the driver to perform.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a frame to a connected peer.
    Send { to: NodeId, frame: Frame },
    /// Deliver a message to this node's subscribers.
    Deliver { topic: Name, message: Arc<Message> },
    /// Dial a peer; answered by [`super::Gossip::peer_up`] or [`super::Gossip::connect_failed`].
    Connect { record: Arc<AddressRecord> },
    /// Keep the connection to a peer: it is a neighbour now.
    Keep { peer: NodeId },
    /// Stop keeping the connection to a peer: it is a neighbour in no topic any more.
    Release { peer: NodeId },
    /// Find subscribers of a topic; answered by [`super::Gossip::subscribers`], also when there are none.
    FindSubscribers { topic: Name },
    /// List this node as a subscriber of the topic in the DHT.
    Announce { topic: Name },
    /// Remove this node from the DHT's subscribers of the topic.
    Withdraw { topic: Name },
    /// Raise the score of a peer that passed on a valid new message; at most twice a minute for each peer.
    Credit { peer: NodeId },
    /// Lower the score of a peer for something that an honest peer may do now and then.
    Blame { peer: NodeId, why: Misbehaviour },
}

/// A breach of the protocol, or another behaviour that lowers a peer's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A message that no honest peer passes on.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// An address record that no honest peer passes on.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// Frames far beyond the rate limit, again and again.
    #[error("gossip frames far beyond the rate limit")]
    TooFast,
    /// Messages that it announced did not arrive when requested.
    #[error("announced gossip messages did not arrive, again and again")]
    EmptyPromises,
    /// A plugin rejected a message that it published.
    #[error("it published a gossip message that a plugin rejected")]
    Rejected,
}

/// Reason why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The payload exceeds [`MAX_GOSSIP`].
    #[error("message of {length} bytes; the limit is {MAX_GOSSIP}")]
    TooLarge {
        /// Bytes of the payload.
        length: usize,
    },
    /// The node has reached its limit of topics.
    #[error("this node takes part in {limit} topics already")]
    TooManyTopics { limit: usize },
    /// More than the rate limit of the node's or the session's own messages.
    #[error("messages are published faster than peers take them; try again in a moment")]
    TooFast,
}

/// Counters of all topics since the start, and present sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GossipStats {
    /// Topics that this node subscribes or publishes to.
    pub topics: usize,
    /// Bytes of messages kept.
    pub bytes: usize,
    /// Message ids remembered.
    pub names: usize,
    /// Messages this node published.
    pub published: u64,
    /// Messages delivered to this node's subscribers.
    pub delivered: u64,
    /// Duplicates received.
    pub duplicates: u64,
    /// Messages that arrived because this node requested them.
    pub pulled: u64,
    /// Messages dropped because of their time, or because they are older than the oldest id remembered.
    pub dropped_time: u64,
    /// Messages dropped because of a wrong signature or size.
    pub dropped_invalid: u64,
    /// Messages a plugin rejected.
    pub dropped_rejected: u64,
    /// Messages that a plugin ignored or did not judge in time.
    pub dropped_ignored: u64,
    /// Frames, messages, records and requests dropped because their sender exceeded a rate limit.
    pub dropped_fast: u64,
    /// Frames and messages not sent because they would exceed the receiver's rate limit.
    pub paced: u64,
    /// Frames of topics that this node does not take part in.
    pub dropped_topic: u64,
    /// Announced messages not remembered for lack of room.
    pub dropped_names: u64,
    /// Announced messages that no neighbour sent.
    pub given_up: u64,
    /// Requests for a message not answered in time.
    pub promises_broken: u64,
    /// Peers left out because [`super::MAX_PEERS`] were connected.
    pub peers_left_out: u64,
    /// Address records that failed a check.
    pub bad_records: u64,
    /// Address records of a zone not told to this node, and a peer's own records with addresses that are not the
    /// peer's.
    pub misplaced_records: u64,
    /// Edges added to trees.
    pub grafts: u64,
    /// Edges removed from trees.
    pub prunes: u64,
}
