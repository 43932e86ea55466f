//! The first frame of a connection, its answer, and what a plugin is allowed.

use serde::{Deserialize, Serialize};

use super::grants::Grants;
use super::info::Origin;
use crate::codec::list;
use crate::error::Failure;
use crate::ids::{NodeId, PluginId, Protocol, Secret};
use crate::ticket::Ticket;

#[cfg(doc)]
use super::event::Event;

/// First frame of every connection to a gateway socket. `Hello` never changes, in any version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// Starts the control session of this launch; replaces an earlier one, which is told `superseded`.
    Hello {
        /// Versions the plugin speaks, best first; at most 32.
        #[serde(deserialize_with = "list")]
        versions: Vec<u32>,
        /// `POLYPEER_TOKEN`.
        token: Secret,
    },
    /// Opens a stream.
    Open {
        /// From `Welcome`.
        secret: Secret,
        /// Where to.
        target: Target,
        /// What is spoken on it.
        protocol: Protocol,
        /// How long finding, dialing and being accepted may take together; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Claims a stream announced by [`Event::Stream`].
    Accept {
        /// From `Welcome`.
        secret: Secret,
        /// The number in the announcement.
        stream: u64,
    },
}

/// Whom a stream or a call goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A peer, found by what this node knows of it.
    Node(NodeId),
    /// A peer, with addresses to try beside those known.
    Ticket(Ticket),
    /// The plugin of this node that serves the protocol locally.
    Local,
}

/// Answer to an [`Opening`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpeningReply {
    /// No; the connection is closed after this.
    Refused(Failure),
    /// The control session stands.
    Welcome(Welcome),
    /// The stream is open: data frames follow in both directions.
    Opened {
        /// Who is at the other end.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
    },
}

/// What a plugin learns at the start of its control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both now speak: the highest one both know.
    pub version: u32,
    /// This node.
    pub node: NodeId,
    /// The name this plugin was installed under.
    pub plugin: PluginId,
    /// What the operator allowed.
    pub grants: Grants,
    /// Opens data connections, for as long as this session is the launch's newest.
    pub secret: Secret,
}
