//! Names of plugins, protocols, topics and records, and patterns of them: text with one rule each.

use std::fmt;
use std::str::FromStr;

use super::invalid::{InvalidId, shown};
use crate::forms::text_on_wire;
use crate::limits::{MAX_NAME, MAX_PROTOCOL};

/// Implements a name's conversions, all through one checked constructor.
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

/// The plugin id of the operator's commands. No plugin can be installed under this name.
pub const OPERATOR: &str = "operator";

/// The name of a plugin on this node: 2 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(String);

name!(PluginId, Plugin, valid_plugin);

fn valid_plugin(text: &str) -> bool {
    (2..=40).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The name of a network, which separates its nodes from those of others: 1 to 32 of `a-z`, `0-9` and `-`. Default
/// `main`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkName(String);

name!(NetworkName, Network, valid_network);

fn valid_network(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl Default for NetworkName {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

/// A protocol, `name/version`: the routing key of streams and calls. At most 80 bytes.
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

/// The name of a topic, a record or something provided: 1 to 128 of `a-z 0-9 . _ - /`. Grants are patterns of such
/// names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

name!(Name, Name, valid_name);

fn valid_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/'))
}

/// A pattern of names in a grant: one name (`chat/1`), a prefix (`chat/*`), or everything (`*`).
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
    /// Whether the pattern matches `name`.
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
