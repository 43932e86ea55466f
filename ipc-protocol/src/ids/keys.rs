//! Node ids, hashes and secrets: 32 raw bytes on the wire; as text z-base-32 for node ids, hexadecimal for the others.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, HEXLOWER, Specification};

use super::invalid::{InvalidId, shown};
use crate::forms::bytes_on_wire;

fn z_base_32() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
        specification.encoding().expect("the z-base-32 alphabet has 32 distinct symbols")
    })
}

fn hex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Orders a 32-byte type by its bytes, compared eight at a time: the network core's maps are keyed by them.
macro_rules! ordered {
    ($name:ident) => {
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                words(&self.0).cmp(&words(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|at| u64::from_be_bytes(bytes.as_chunks().0[at]))
}

/// A node's Ed25519 public key. Text: 52 characters of z-base-32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    fn to_text(self) -> String {
        z_base_32().encode(&self.0)
    }
}

bytes_on_wire!(NodeId);
ordered!(NodeId);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text()[..10])
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        z_base_32()
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| InvalidId::Node { text: shown(text) })
    }
}

/// A BLAKE3 hash of a value, a gossip message or a place in the DHT. Text: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    fn to_text(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

bytes_on_wire!(Hash);
ordered!(Hash);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text()[..10])
    }
}

impl FromStr for Hash {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex(text).map(Self).ok_or_else(|| InvalidId::Hash { text: shown(text) })
    }
}

/// 32 random bytes that prove a right; never logged. Text: 64 hex digits.
///
/// Two uses: the *token* a plugin finds in `POLYPEER_TOKEN`, and the *session secret* of `Welcome`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub [u8; 32]);

impl Secret {
    /// 64 hex digits, for an environment variable or a file that only its owner can read.
    pub fn to_text(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Whether the two are equal, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

bytes_on_wire!(Secret);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex(text).map(Self).ok_or(InvalidId::Secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_text_is_52_characters_and_reads_back() {
        let id = NodeId([0xa7; 32]);
        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn text_that_is_no_hash_is_named_in_the_error_and_a_secret_is_not() {
        assert_eq!("XY".parse::<Hash>(), Err(InvalidId::Hash { text: "XY".to_owned() }));
        assert_eq!("XY".parse::<Secret>(), Err(InvalidId::Secret));
    }

    #[test]
    fn node_id_with_stray_bits_or_wrong_length_is_refused() {
        let text = NodeId([0; 32]).to_string();
        assert!(text[..51].parse::<NodeId>().is_err());
        assert!(format!("{}b", &text[..51]).parse::<NodeId>().is_err(), "trailing bits must be zero");
        assert!(text.to_uppercase().parse::<NodeId>().is_err());
    }
}
