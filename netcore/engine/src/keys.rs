//! Signatures, as state machines use them: real ones in a node, cheap ones in the simulator.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::identity::Identity;

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

impl Keys for Identity {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(Self::sign(self, message).try_into().expect("an Ed25519 signature has 64 bytes"))
    }

    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &key.0).verify(message, &signature.0).is_ok()
    }
}
