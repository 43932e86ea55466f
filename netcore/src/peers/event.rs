//! The events and callbacks by which the rest of the node learns of connections.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::ids::NodeId;

use crate::transport::{Connection, PathHandle};

#[cfg(doc)]
use super::Peers;

/// A new connection that the tie-break has kept.
#[derive(Debug, Clone)]
pub struct Established {
    pub node: NodeId,
    /// Its first bidirectional stream is used up by the tie-break; nothing else was read or opened.
    pub connection: quinn::Connection,
    /// Whether this node dialed.
    pub outgoing: bool,
    /// The path of its packets, and the means to change it.
    pub path: PathHandle,
    /// The peer's address, proven by the handshake.
    pub proved: SocketAddr,
}

/// A change of the connection with a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A connection is in use. Sent after [`OnEstablished`] returned.
    Up(NodeId),
    /// The connection has ended, for this reason. A connection replaced by a newer one sends `Down`, then `Up`.
    Down(NodeId, Failure),
    /// A node that this one dialed at `address` is full: it refused with `busy`. It still answers questions
    /// ([`crate::query`]).
    Full { node: NodeId, address: SocketAddr, source: Source },
}

/// Called once for each connection kept, on the runtime that [`Peers::bind`] was called on; must not block. It returns
/// before [`Peers::connect`] does for that connection.
pub type OnEstablished = Arc<dyn Fn(Established) + Send + Sync>;

/// Called once for each incoming query connection of a peer that is neither blocked nor banned, on the same runtime;
/// must not block.
pub type OnQuery = Arc<dyn Fn(Connection) + Send + Sync>;
