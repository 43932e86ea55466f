//! Keys of the DHT: 256 bits, and the distance between two.

use std::fmt;

use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use serde::{Deserialize, Serialize};

/// The key of a node, a record or a list of providers. Each kind is hashed with its own prefix, so that a node id
/// cannot be chosen whose key is also the key of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key of a node, under which its address records are stored, too.
    pub fn of_node(node: NodeId) -> Self {
        Self::hash(b"node", &[&node.0])
    }

    /// The key of an immutable value with this hash ([`Self::value_hash`]), stored under `name`.
    pub fn of_immutable(name: &Name, hash: &Hash) -> Self {
        Self::hash(b"immutable", &[name.as_str().as_bytes(), &hash.0])
    }

    /// The key of what the owner of the public key `key` publishes under `name`.
    pub fn of_signed(key: &NodeId, name: &Name) -> Self {
        Self::hash(b"signed", &[name.as_str().as_bytes(), &key.0])
    }

    /// The key of the list of providers of `name`.
    pub fn of_provided(name: &Name) -> Self {
        Self::hash(b"provided", &[name.as_str().as_bytes()])
    }

    /// The key of the list of subscribers of a topic.
    pub fn of_topic(topic: &Name) -> Self {
        Self::hash(b"topic", &[topic.as_str().as_bytes()])
    }

    /// The BLAKE3 hash of an immutable value.
    pub fn value_hash(value: &[u8]) -> Hash {
        Hash(*blake3::hash(value).as_bytes())
    }

    /// BLAKE3 of `polypeer/1 key KIND\0` and the parts, concatenated. Only the first part varies in length, so two
    /// different lists of parts are never the same bytes.
    fn hash(kind: &[u8], parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"polypeer/1 key ").update(kind).update(b"\0");
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The distance to `other`.
    pub fn distance(&self, other: &Self) -> Distance {
        let (a, b) = (self.words(), other.words());
        Distance([a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]])
    }

    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        words
    }

    /// The key at this distance from this one.
    pub fn at(&self, distance: &Distance) -> Self {
        let mut bytes = [0; 32];
        let words = self.words().into_iter().zip(distance.0);
        for (bytes, (own, far)) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = (own ^ far).to_be_bytes();
        }
        Self(bytes)
    }

    /// A key that shares exactly the first `bits` bits with this one (0 to 256); the rest is from `random`.
    pub fn at_prefix(&self, bits: usize, random: [u8; 32]) -> Self {
        let mut bytes = random;
        let (whole, part) = (bits / 8, bits % 8);
        bytes[..whole.min(32)].copy_from_slice(&self.0[..whole.min(32)]);
        if let (Some(byte), Some(own)) = (bytes.get_mut(whole), self.0.get(whole)) {
            let kept = !(0xff_u8 >> part);
            let turned = 0x80_u8 >> part;
            *byte = (own & kept) | (!own & turned) | (*byte & !kept & !turned);
        }
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Hash(self.0))
    }
}

/// The XOR of two keys, as a number of 256 bits (Maymounkov and Mazières 2002, section 2.1). From one key, each
/// distance leads to exactly one other. Kept as words, the highest first, as most of what a table does is to compare
/// them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u64; 4]);

impl Distance {
    /// Number of shared leading bits; 256 for a key and itself.
    pub fn shared_bits(&self) -> usize {
        for (at, word) in self.0.iter().enumerate() {
            if *word != 0 {
                return at * 64 + word.leading_zeros() as usize;
            }
        }
        256
    }

    /// The distance as a share of the key space, 0 to 1: how much of the space is closer.
    pub fn fraction(&self) -> f64 {
        let high = u128::from(self.0[0]) << 64 | u128::from(self.0[1]);
        high as f64 / 2_f64.powi(128)
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shared bits", self.shared_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_keys_never_meet() {
        let name: Name = "a".parse().unwrap();
        let keys = [
            Key::of_node(NodeId([1; 32])),
            Key::of_provided(&name),
            Key::of_topic(&name),
            Key::of_signed(&NodeId([1; 32]), &name),
            Key::of_immutable(&name, &Hash([1; 32])),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key));
        }
    }

    #[test]
    fn a_random_key_of_a_bucket_shares_exactly_its_bits() {
        let own = Key::of_node(NodeId([7; 32]));
        for bits in 0..256 {
            for random in [[0; 32], [0xff; 32], [0x5a; 32]] {
                assert_eq!(own.distance(&own.at_prefix(bits, random)).shared_bits(), bits);
            }
        }
        assert_eq!(own.at_prefix(256, [3; 32]), own);
        assert_eq!(own.distance(&own).shared_bits(), 256);
        assert_eq!(own.at(&own.distance(&Key([9; 32]))), Key([9; 32]));
    }
}
