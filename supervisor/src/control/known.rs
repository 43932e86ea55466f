//! What the daemon knows of peers, for commands that are told a peer by a name or by the start of its id, or that show
//! peers to a person.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::petname::{self, Petname};

/// The peers that this node knows in any way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeers {
    /// This node.
    pub own: NodeId,
    /// The operator's names.
    pub names: BTreeMap<NodeId, Petname>,
    /// Peers that are connected, remembered, blocked, named, or on the list of a plugin; sorted, each once, without the
    /// own node.
    pub nodes: Vec<NodeId>,
}

impl KnownPeers {
    /// The operator's name of a peer.
    pub fn name(&self, node: &NodeId) -> Option<&Petname> {
        self.names.get(node)
    }

    /// A peer as messages name it: see [`petname::shown`].
    pub fn shown(&self, node: &NodeId) -> String {
        petname::shown(node, self.name(node))
    }

    /// A peer as tables and chats name it: see [`petname::shown_short`].
    pub fn shown_short(&self, node: &NodeId) -> String {
        petname::shown_short(node, self.name(node))
    }
}
