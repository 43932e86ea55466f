//! The error of one attempt to connect.

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;

/// The ALPN of connections between peers (RFC 7301); its number is the major version of the protocol.
pub const ALPN: &[u8] = b"polypeer/1";

/// Why one attempt at one address failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No socket of this node can send there.
    #[error("this node has no socket that can send there")]
    NoSocket,
    /// Nothing answered in time.
    #[error("no answer")]
    NoAnswer,
    /// Another node has this address now.
    #[error("another node answered: {0}")]
    OtherNode(NodeId),
    /// What answered is no Polypeer node, or has another major version.
    #[error("what answered does not speak {}: {reason}", String::from_utf8_lossy(ALPN))]
    OtherProtocol { reason: String },
    /// The peer answered and refused.
    #[error("refused with code {code:#x}")]
    Refused {
        /// The number of an [`polypeer_ipc_protocol::error::ErrorCode`], or QUIC's.
        code: u64,
    },
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

impl DialError {
    /// Whether the peer refused because it is full.
    pub fn is_busy(&self) -> bool {
        *self == Self::Refused { code: ErrorCode::Busy.number().into() }
    }
}
