//! Grants: what a plugin may do.

use serde::{Deserialize, Serialize};

use crate::codec::list;
use crate::ids::{NodeId, Pattern};

/// What the operator allowed one plugin. Everything absent is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// Protocols it may serve to peers.
    #[serde(deserialize_with = "list")]
    pub serve: Vec<Pattern>,
    /// Protocols it may open, to peers and to plugins of this node.
    #[serde(deserialize_with = "list")]
    pub dial: Vec<Pattern>,
    /// Protocols it may serve to plugins of this node and the operator.
    #[serde(deserialize_with = "list")]
    pub serve_local: Vec<Pattern>,
    /// The peers it may communicate with, in both directions.
    pub peers: PeerScope,
    /// Gossip topics.
    #[serde(deserialize_with = "list")]
    pub topics: Vec<Pattern>,
    /// Names of DHT records.
    #[serde(deserialize_with = "list")]
    pub dht: Vec<Pattern>,
    /// Key-based routing names.
    #[serde(deserialize_with = "list")]
    pub routes: Vec<Pattern>,
}

/// The peers a plugin may communicate with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerScope {
    /// Only these peers; by default none.
    List(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// Every peer.
    Any,
}

impl Default for PeerScope {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl PeerScope {
    /// Whether the plugin may communicate with `peer`.
    pub fn allows(&self, peer: &NodeId) -> bool {
        match self {
            Self::Any => true,
            Self::List(peers) => peers.contains(peer),
        }
    }
}
