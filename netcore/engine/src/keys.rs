//! Signatures, as state machines use them: real ones in a node, cheap ones in the simulator.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;

/// Signs as this node, and checks anybody's signatures.
pub trait Keys: Send + Sync {
    /// This node.
    fn node(&self) -> NodeId;
    /// This node's signature of `message`.
    fn sign(&self, message: &[u8]) -> Signature;
    /// Whether `signature` of `message` is by the holder of `key`.
    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool;
}

/// Keys shared by the machines of one node.
pub type SharedKeys = Arc<dyn Keys>;
