//! What netcore says of nodes, topics and the network.

use serde::{Deserialize, Serialize};

use crate::codec::list;
use crate::ids::{NodeId, PluginId, Protocol};
use crate::ticket::Ticket;

/// Who is at the other end of a stream or call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A peer, authenticated by its key.
    Peer(NodeId),
    /// A plugin of this node; the operator's commands are the plugin `operator`.
    Local(PluginId),
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

/// What a node can say of how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Not found out yet.
    Unknown,
    /// Peers have dialed an address of it back.
    Public,
    /// Peers tried and could not.
    Private,
}

/// What changed about the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkChange {
    /// Packets to a peer travel another way, or to another address of it.
    Path {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
    },
    /// This node is reached otherwise.
    Reach(Reach),
    /// This node has other addresses.
    Addresses(Ticket),
}
