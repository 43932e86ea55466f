//! What netcore says on a control session: answers to requests.

use serde::{Deserialize, Serialize};

use super::{Event, Payload};
use crate::codec::list;
use crate::error::Failure;
use crate::ids::{Hash, NodeId, Protocol};
use crate::record::SignedRecord;
use crate::ticket::Ticket;

#[cfg(doc)]
use super::Request;

/// What netcore sends on a control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers a request.
    Response {
        /// Of the request.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Tells something nobody asked for.
    Event(Event),
}

/// Answers to [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It did not work.
    Failed(Failure),
    /// It worked, and there is nothing more to say.
    Done,
    /// What the other side answered to a call.
    Reply {
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The peers this plugin may see.
    Peers(#[serde(deserialize_with = "list")] Vec<PeerInfo>),
    /// This node.
    Node(NodeInfo),
    /// A message is on its way.
    Published {
        /// Its name.
        message: Hash,
        /// Peers it was sent to at once; 0: nobody else is known to be subscribed yet, and it is kept a while for those
        /// who come.
        peers: u32,
    },
    /// How a topic fares.
    Topic(TopicInfo),
    /// A record is in the DHT.
    Stored {
        /// The hash of an immutable value; otherwise the record's place in the DHT.
        key: Hash,
        /// The sequence number of a signed record; otherwise 0.
        sequence: u64,
        /// Nodes that hold it.
        copies: u32,
    },
    /// An immutable value, if there is one.
    Value(Option<Payload>),
    /// A signed record, if there is one.
    Record(Option<SignedRecord>),
    /// Who provides; only those the plugin may deal with.
    Providers(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// Where a peer can be reached.
    Found(Ticket),
}

/// How a subscribed topic fares; counts are since the node subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Subscribed peers this node exchanges the topic with.
    pub neighbours: u32,
    /// Messages delivered, each once.
    pub delivered: u64,
    /// Further copies received of messages known already.
    pub duplicates: u64,
    /// Messages dropped: a wrong signature, rejected, too old, no room.
    pub dropped: u64,
    /// Messages this node had missed and pulled from a neighbour.
    pub pulled: u64,
}

/// A connected peer, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Who.
    pub node: NodeId,
    /// How packets travel.
    pub path: Path,
    /// Smoothed round trip, microseconds.
    pub rtt_us: u64,
    /// How long the connection has stood, milliseconds.
    pub connected_ms: u64,
    /// What the peer says it serves.
    #[serde(deserialize_with = "list")]
    pub protocols: Vec<Protocol>,
}

/// How packets to a peer travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Path {
    /// Straight to its address.
    Direct,
    /// Through another peer.
    Relayed,
}

/// This node, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Who.
    pub node: NodeId,
    /// Lets a stranger dial this node.
    pub ticket: Ticket,
    /// Version of the network core, semver.
    pub version: String,
    /// How long it has run, milliseconds.
    pub uptime_ms: u64,
}
