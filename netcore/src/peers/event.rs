//! What the rest of the node is told.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::ids::NodeId;

use crate::transport::{Link, PathHandle};

#[cfg(doc)]
use super::Peers;

/// A new connection, as the rest of the node gets it.
#[derive(Debug, Clone)]
pub struct Established {
    /// Who is at the other end.
    pub node: NodeId,
    /// The connection. Its first bidirectional stream is used up; nothing else was read or opened.
    pub connection: quinn::Connection,
    /// Whether this node dialed.
    pub outgoing: bool,
    /// How its packets travel, and the means to change that.
    pub path: PathHandle,
    /// Where it proved to be by the handshake.
    pub proved: SocketAddr,
}

/// What happens to peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A connection is in use. Sent after the callback returned.
    Up(NodeId),
    /// It ended, and why. A connection replaced by a newer one sends `Down`, then `Up`.
    Down(NodeId, Failure),
    /// A node that this one dialed has no place for it: it refused as `busy`. It still answers questions
    /// ([`crate::query`]).
    Full {
        /// Which.
        node: NodeId,
        /// Where it answered.
        address: SocketAddr,
        /// Who knew it.
        source: Source,
    },
}

/// Called once for each connection kept, on the runtime that [`Peers::bind`] was called on; must not block. It returns
/// before [`Peers::connect`] does for that connection.
pub type OnEstablished = Arc<dyn Fn(Established) + Send + Sync>;

/// Called once for each query connection that comes, on the same runtime; must not block. The peer is not blocked.
pub type OnQuery = Arc<dyn Fn(Link) + Send + Sync>;
