//! The node's key as the engine's [`Keys`].

use polypeer_engine::keys::Keys;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Identity;

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
