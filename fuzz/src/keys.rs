//! Node ids and cheap keys for fuzz inputs.

use polypeer_engine::keys::Keys;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;

/// The node id derived from `number`.
pub fn node(number: usize) -> NodeId {
    NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Keys with cheap signatures: anyone who knows an id can sign for it, which no target does.
#[derive(Debug, Clone, Copy)]
pub struct CheapKeys(pub NodeId);

impl Keys for CheapKeys {
    fn node(&self) -> NodeId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.0, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], given: &Signature) -> bool {
        signature(key, message) == *given
    }
}

fn signature(key: &NodeId, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    let hash = blake3::Hasher::new().update(&key.0).update(message).finalize();
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature(bytes)
}
