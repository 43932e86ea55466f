//! Petnames: what the operator of this node calls a peer. They stay on this machine and are never taken from the peer.
//! [`crate::store`] keeps them; `cli` reads and shows them.

use std::fmt;
use std::str::FromStr;

use polypeer_ipc_protocol::ids::NodeId;
use serde::{Deserialize, Serialize};

/// Most characters of a petname. Shorter than a node id, so that no petname can be taken for one.
pub const MAX_LENGTH: usize = 40;
/// Stands for the own node where a peer is expected; no petname.
pub const LOCAL: &str = "local";
/// Characters of a node id that are shown where there is no space for all 52.
const SHORT: usize = 8;

/// A petname: 1 to [`MAX_LENGTH`] of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Petname(String);

/// The error of parsing a petname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPetname {
    #[error("{text:?} is not a name for a peer: expected 1 to {MAX_LENGTH} of a-z, 0-9 and '-'")]
    Malformed {
        /// The input, cut to 80 characters.
        text: String,
    },
    #[error("\"{LOCAL}\" always stands for your own node")]
    Reserved,
}

impl Petname {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text has the form of a petname.
    pub fn is_form_of(text: &str) -> bool {
        (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    }
}

impl FromStr for Petname {
    type Err = InvalidPetname;

    fn from_str(text: &str) -> Result<Self, InvalidPetname> {
        if text == LOCAL {
            return Err(InvalidPetname::Reserved);
        }
        if !Self::is_form_of(text) {
            return Err(InvalidPetname::Malformed { text: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Petname {
    type Error = InvalidPetname;

    fn try_from(text: String) -> Result<Self, InvalidPetname> {
        text.parse()
    }
}

impl From<Petname> for String {
    fn from(name: Petname) -> Self {
        name.0
    }
}

impl fmt::Display for Petname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The first characters of a node id.
pub fn short(node: &NodeId) -> String {
    node.to_string().chars().take(SHORT).collect()
}

/// A peer as messages name it: `ann (gkmuj994)`, or its whole id if it has no name.
pub fn shown(node: &NodeId, name: Option<&Petname>) -> String {
    name.map_or_else(|| node.to_string(), |_| shown_short(node, name))
}

/// A peer as tables and chats name it: `ann (gkmuj994)`, or the first characters of its id.
pub fn shown_short(node: &NodeId, name: Option<&Petname>) -> String {
    name.map_or_else(|| short(node), |name| format!("{name} ({})", short(node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_form_is_a_petname() {
        for text in ["a", "ann-2", &"x".repeat(MAX_LENGTH)] {
            assert_eq!(text.parse::<Petname>().expect("a name").as_str(), text);
        }
        for text in ["", "Ann", "a b", "ä", "a.b", &"x".repeat(MAX_LENGTH + 1)] {
            assert!(matches!(text.parse::<Petname>(), Err(InvalidPetname::Malformed { .. })), "{text:?}");
        }
        assert_eq!(LOCAL.parse::<Petname>(), Err(InvalidPetname::Reserved));
    }

    #[test]
    fn peer_is_shown_with_its_name_and_the_first_characters_of_its_id() {
        let node = NodeId([0; 32]);
        let ann = "ann".parse().expect("a name");
        assert_eq!((shown(&node, Some(&ann)), shown_short(&node, None)), ("ann (yyyyyyyy)".into(), "yyyyyyyy".into()));
        assert_eq!(shown(&node, None), node.to_string());
    }
}
