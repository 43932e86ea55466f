//! Descriptions of nodes, peers, topics and the network.

use serde::{Deserialize, Serialize};

use crate::codec::list;
use crate::ids::{NodeId, PluginId, Protocol};
use crate::ticket::Ticket;

/// The other end of a stream or call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A peer, authenticated by its key.
    Peer(NodeId),
    /// A plugin of this node; the operator's commands are the plugin `operator`.
    Local(PluginId),
}

/// The destination of a stream or call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A peer, dialed at the addresses this node knows.
    Node(NodeId),
    /// A peer, dialed at the ticket's addresses as well.
    Ticket(Ticket),
    /// The plugin of this node that serves the protocol locally.
    Local,
}

/// Statistics of a subscribed topic, since the node subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Subscribed peers that this node exchanges the topic's messages with.
    pub neighbours: u32,
    /// Messages delivered, each once.
    pub delivered: u64,
    /// Duplicates received.
    pub duplicates: u64,
    /// Messages dropped: an invalid signature, rejected, too old, no room.
    pub dropped: u64,
    /// Missed messages that this node pulled from a neighbour.
    pub pulled: u64,
}

/// A connected peer, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    pub node: NodeId,
    pub path: Path,
    /// Smoothed round-trip time, microseconds.
    pub rtt_us: u64,
    /// Age of the connection, milliseconds.
    pub connected_ms: u64,
    /// The protocols the peer announces.
    #[serde(deserialize_with = "list")]
    pub protocols: Vec<Protocol>,
}

/// How packets to a peer travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Path {
    /// Straight to its address.
    Direct,
    /// Through a relay.
    Relayed,
}

/// This node, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub node: NodeId,
    /// Lets a stranger dial this node.
    pub ticket: Ticket,
    /// Version of the network core, semver.
    pub version: String,
    /// Time since the network core started, milliseconds.
    pub uptime_ms: u64,
}

/// Whether other nodes can dial this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Not probed yet.
    Unknown,
    /// Peers have dialed one of its addresses back.
    Public,
    /// Peers tried and failed.
    Private,
}

/// A change of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkChange {
    /// Packets to a peer take another path, or go to another address of it.
    Path { node: NodeId, path: Path },
    /// This node's reachability changed.
    Reach(Reach),
    /// This node's addresses changed.
    Addresses(Ticket),
}
