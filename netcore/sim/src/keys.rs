//! Signatures of the simulated world: as deterministic as Ed25519 and a thousand times cheaper. A signature is a keyed
//! hash of signer and message; the simulated attackers do not know the key, so they cannot forge one.

use polypeer_engine::keys::Keys;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;

/// The keys of one node.
#[derive(Debug, Clone)]
pub struct SimKeys {
    node: NodeId,
}

impl SimKeys {
    /// Makes the keys of `node`.
    pub fn new(node: NodeId) -> Self {
        Self { node }
    }
}

impl Keys for SimKeys {
    fn node(&self) -> NodeId {
        self.node
    }

    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.node, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], signed: &Signature) -> bool {
        signature(key, message) == *signed
    }
}

/// Multiplies and folds 8 bytes at a time. A state of 64 bits is enough, as nobody here searches for collisions.
fn signature(key: &NodeId, message: &[u8]) -> Signature {
    const SECRET: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = SECRET ^ message.len() as u64;
    let mut mix = |bytes: &[u8]| {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            state = fold(state ^ word);
        }
        for byte in words.remainder() {
            state = fold(state ^ u64::from(*byte));
        }
    };
    mix(&key.0);
    mix(message);
    let mut bytes = [0; 64];
    for word in bytes.chunks_exact_mut(8) {
        state = fold(state);
        word.copy_from_slice(&state.to_le_bytes());
    }
    Signature(bytes)
}

fn fold(value: u64) -> u64 {
    let product = u128::from(value ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signer_and_the_message_give_the_signature() {
        let (one, two) = (SimKeys::new(NodeId([1; 32])), SimKeys::new(NodeId([2; 32])));
        let signed = one.sign(b"a message of some length");
        assert!(two.verify(&one.node(), b"a message of some length", &signed));
        assert!(!two.verify(&one.node(), b"a message of some lengtH", &signed));
        assert!(!one.verify(&two.node(), b"a message of some length", &signed));
    }
}
