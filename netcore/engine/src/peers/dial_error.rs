//! Why one attempt to connect failed.

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;

/// The ALPN of connections between peers (RFC 7301); its number is the major version of the protocol.
pub const ALPN: &[u8] = b"polypeer/1";

/// Why one attempt at one address came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No socket of this node can send there.
    #[error("this node has no socket that can send there")]
    NoSocket,
    /// Nothing came back.
    #[error("no answer")]
    NoAnswer,
    /// Something else lives there now.
    #[error("another node answered: {0}")]
    OtherNode(NodeId),
    /// It is no Polypeer node, or not of this major version.
    #[error("what answered does not speak {}: {reason}", String::from_utf8_lossy(ALPN))]
    OtherProtocol {
        /// What was wrong.
        reason: String,
    },
    /// It answered and refused.
    #[error("refused with code {code:#x}")]
    Refused {
        /// A number of [`polypeer_ipc_protocol::error::ErrorCode`], or QUIC's.
        code: u64,
    },
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

impl DialError {
    /// Whether it answered, and has no place for this node.
    pub fn is_busy(&self) -> bool {
        *self == Self::Refused { code: ErrorCode::Busy.number().into() }
    }
}
