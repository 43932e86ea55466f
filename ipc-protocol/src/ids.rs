//! Names and secrets as types: parsed once, valid ever after. In text node ids are z-base-32 and secrets hex; on the
//! wire both are their 32 bytes, and names are strings that decoding refuses when they break their rule.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, HEXLOWER, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{MAX_NAME, MAX_PROTOCOL};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not 52 characters of z-base-32 that stand for exactly 32 bytes.
    #[error("{text:?} is not a node id: expected 52 characters of z-base-32")]
    Node {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Not 64 hex digits.
    #[error("expected 64 hexadecimal digits")]
    Secret,
    /// Breaks the rule of [`PluginId`].
    #[error("{text:?} is not a plugin id: expected 2 to 40 of a-z, 0-9 and '-'")]
    Plugin {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Protocol`].
    #[error("{text:?} is not a protocol: expected name/version, such as chat/1, of a-z, 0-9, '.', '_' and '-'")]
    Protocol {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Pattern`].
    #[error("{text:?} is not a protocol or a pattern such as chat/*")]
    Pattern {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Name`].
    #[error("{text:?} is not a name: expected 1 to {MAX_NAME} of a-z, 0-9, '.', '_', '-' and '/'")]
    Name {
        /// What was given, cut to 80 characters.
        text: String,
    },
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn z_base_32() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
        specification.encoding().expect("the z-base-32 alphabet has 32 distinct symbols")
    })
}

/// Gives a 32-byte type its two forms: raw bytes on the wire, text for people.
macro_rules! bytes32 {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&self.to_text())
                } else {
                    serializer.serialize_newtype_struct(stringify!($name), &self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("32 bytes")
                    }
                    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<$name, D::Error> {
                        <[u8; 32]>::deserialize(inner).map($name)
                    }
                }
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    deserializer.deserialize_newtype_struct(stringify!($name), Visitor)
                }
            }
        }
    };
}

/// Gives a 32-byte type the order of its bytes, compared eight at a time: maps of them are at the heart of the network core.
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

/// A node's Ed25519 public key, which is its name. Text: 52 characters of z-base-32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    fn to_text(self) -> String {
        z_base_32().encode(&self.0)
    }
}

bytes32!(NodeId);
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

/// A BLAKE3 hash: of a value, a gossip message, a place in the DHT. Text: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    fn to_text(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

bytes32!(Hash);
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
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidId::Secret)?;
        bytes.try_into().map(Self).map_err(|_| InvalidId::Secret)
    }
}

/// 32 random bytes that prove a right to something; never shown in logs. Text: 64 hex digits.
///
/// Two uses: the *token* a plugin finds in `POLYPEER_TOKEN`, and the *session secret* of `Welcome`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub [u8; 32]);

impl Secret {
    /// The secret as 64 hex digits, for an environment variable or a file only its owner reads.
    pub fn to_text(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Whether the two are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

bytes32!(Secret);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidId::Secret)?;
        bytes.try_into().map(Self).map_err(|_| InvalidId::Secret)
    }
}

/// Gives a type that is text on the wire, and in JSON, its one form there: a string, checked when read. The type keeps
/// its name in the schema.
macro_rules! text_on_wire {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(stringify!($name), &self.to_string())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("text")
                    }
                    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, inner: D) -> Result<$name, D::Error> {
                        let text = <String as serde::Deserialize>::deserialize(inner)?;
                        text.parse().map_err(serde::de::Error::custom)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_newtype_struct(stringify!($name), Visitor)
            }
        }
    };
}
pub(crate) use text_on_wire;

/// Gives a name kept as text its conversions, all through one checked constructor.
macro_rules! name {
    ($name:ident, $error:ident, $valid:path) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::$error { text: shown(text) }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        text_on_wire!($name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

/// The plugin that the operator's commands are, as others see it. No plugin can be installed under this name.
pub const OPERATOR: &str = "operator";

/// The name of a plugin on this node: 2 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(String);

name!(PluginId, Plugin, valid_plugin);

fn valid_plugin(text: &str) -> bool {
    (2..=40).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// What a plugin speaks, `name/version`: the routing key of streams and calls. At most 80 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(String);

name!(Protocol, Protocol, valid_protocol);

fn valid_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}

fn valid_protocol(text: &str) -> bool {
    text.len() <= MAX_PROTOCOL
        && text.split_once('/').is_some_and(|(name, version)| valid_part(name) && valid_part(version))
}

/// The name of a topic, a record or something provided: 1 to 128 of `a-z 0-9 . _ - /`. Grants are patterns of these.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

name!(Name, Name, valid_name);

fn valid_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/'))
}

/// What a grant allows: one name (`chat/1`), a prefix (`chat/*`), or everything (`*`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

name!(Pattern, Pattern, valid_pattern);

fn valid_pattern(text: &str) -> bool {
    let fixed = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty()
        && text.len() <= MAX_PROTOCOL
        && fixed.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/'))
}

impl Pattern {
    /// Whether `name` is one of those this pattern stands for.
    pub fn allows(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name,
        }
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
    fn node_id_with_stray_bits_or_wrong_length_is_refused() {
        let text = NodeId([0; 32]).to_string();
        assert!(text[..51].parse::<NodeId>().is_err());
        assert!(format!("{}b", &text[..51]).parse::<NodeId>().is_err(), "trailing bits must be zero");
        assert!(text.to_uppercase().parse::<NodeId>().is_err());
    }

    #[test]
    fn names_follow_their_rules() {
        for good in ["chat/1", "a.b_c-d/0.1"] {
            assert!(good.parse::<Protocol>().is_ok(), "{good}");
        }
        for bad in ["", "chat", "chat/", "/1", "Chat/1", "a/b/c", "chat/1 ", &format!("{}/1", "x".repeat(80))] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad}");
        }
        for bad in ["", "a", "A-b", "with space", "..", &"x".repeat(41)] {
            assert!(bad.parse::<PluginId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pattern_allows_itself_or_its_prefix() {
        let pattern = |text: &str| text.parse::<Pattern>().expect("a valid pattern");
        assert!(pattern("chat/1").allows("chat/1") && !pattern("chat/1").allows("chat/10"));
        assert!(pattern("chat/*").allows("chat/2") && !pattern("chat/*").allows("chatty/2"));
        assert!(pattern("*").allows("anything/1"));
        assert!("ch*t".parse::<Pattern>().is_err());
    }
}
