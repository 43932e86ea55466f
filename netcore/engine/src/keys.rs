//! Signatures for state machines: Ed25519 in a node, cheap substitutes in the simulator.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;

/// Signs for this node, and verifies signatures of any node.
pub trait Keys: Send + Sync {
    /// This node's id.
    fn node(&self) -> NodeId;
    /// This node's signature of `message`.
    fn sign(&self, message: &[u8]) -> Signature;
    /// Whether `signature` of `message` is by the holder of `key`.
    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool;
}

/// Keys that the state machines of one node share.
pub type SharedKeys = Arc<dyn Keys>;
