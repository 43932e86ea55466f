//! Types of permissions: how a value is parsed and how it is put into words. The table of [`super::permissions`] is the
//! only user.

use std::fmt::Display;
use std::path::PathBuf;

use polypeer_ipc_protocol::gateway::PeerScope;
use polypeer_ipc_protocol::ids::{NodeId, Pattern, Protocol};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::values::{Size, shown_size};

/// The type of a permission's value.
pub trait PermissionValue {
    /// What is asked for: the texts for the place `{}` in the words, one line each. Empty when nothing is.
    fn asked(&self) -> Vec<String>;

    /// The number of entries of a list.
    fn entries(&self) -> usize {
        0
    }

    /// The value, as text, when this version enforces the permission but not this value of it.
    fn not_enforced(&self) -> Option<&'static str> {
        None
    }
}

/// A permission that netcore enforces: its value becomes a field of [`polypeer_ipc_protocol::gateway::Grants`].
pub trait Granted {
    /// The type of the field.
    type Grant;

    /// The value of the field; `list` is the operator's list of peers.
    fn granted(&self, list: &[NodeId]) -> Self::Grant;
}

impl<T: Display> PermissionValue for Vec<T> {
    fn asked(&self) -> Vec<String> {
        let entries: Vec<String> = self.iter().map(T::to_string).collect();
        if entries.is_empty() { entries } else { vec![entries.join(", ")] }
    }

    fn entries(&self) -> usize {
        self.len()
    }
}

impl Granted for Vec<Pattern> {
    type Grant = Self;

    fn granted(&self, _: &[NodeId]) -> Self {
        self.clone()
    }
}

/// Protocols and patterns of protocols.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Protocols(pub Vec<Pattern>);

impl<'de> Deserialize<'de> for Protocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parse = |text: &String| {
            let pattern: Option<Pattern> = text.parse().ok();
            pattern.filter(|_| text.ends_with('*') || text.parse::<Protocol>().is_ok()).ok_or_else(|| {
                D::Error::custom(format!(
                    "{text:?} is not a protocol; expected name/version such as \"chat/1\", or a pattern such as \"chat/*\""
                ))
            })
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl PermissionValue for Protocols {
    fn asked(&self) -> Vec<String> {
        self.0.asked()
    }

    fn entries(&self) -> usize {
        self.0.len()
    }
}

impl Granted for Protocols {
    type Grant = Vec<Pattern>;

    fn granted(&self, _: &[NodeId]) -> Vec<Pattern> {
        self.0.clone()
    }
}

/// Peers that a plugin may communicate with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Peers {
    #[default]
    None,
    Any,
    /// The peers on a list that the operator maintains.
    List,
    /// The members of a group.
    Group(String),
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "any" => Ok(Self::Any),
            "list" => Ok(Self::List),
            other => match other.strip_prefix("group:").filter(|id| !id.is_empty() && id.len() <= 80) {
                Some(id) => Ok(Self::Group(id.into())),
                None => Err(D::Error::custom(format!("unknown value {text:?}; expected any, list or group:ID"))),
            },
        }
    }
}

impl PermissionValue for Peers {
    fn asked(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Any => vec!["any peer".into()],
            Self::List => vec!["the peers on your list".into()],
            Self::Group(id) => vec![format!("members of the group {id}")],
        }
    }

    fn not_enforced(&self) -> Option<&'static str> {
        matches!(self, Self::Group(_)).then_some("group:…")
    }
}

impl Granted for Peers {
    type Grant = PeerScope;

    fn granted(&self, list: &[NodeId]) -> PeerScope {
        match self {
            Self::None | Self::Group(_) => PeerScope::List(Vec::new()),
            Self::Any => PeerScope::Any,
            Self::List => PeerScope::List(list.to_vec()),
        }
    }
}

impl PermissionValue for bool {
    fn asked(&self) -> Vec<String> {
        if *self { vec![String::new()] } else { Vec::new() }
    }
}

impl PermissionValue for Option<Size> {
    fn asked(&self) -> Vec<String> {
        self.iter().filter(|size| size.0 > 0).map(|size| shown_size(size.0)).collect()
    }
}

/// How the packets of a plugin may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    #[default]
    Direct,
    /// Over a relay: peers do not see the node's address.
    Relayed,
    /// Over nested relays: no hop knows both ends.
    Private,
}

impl PermissionValue for Privacy {
    fn asked(&self) -> Vec<String> {
        match self {
            Self::Direct => Vec::new(),
            Self::Relayed => vec!["relays".into()],
            Self::Private => vec!["nested relays".into()],
        }
    }
}

/// Access to the network of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A private loopback interface only.
    #[default]
    None,
    /// The host's network; in this version with its loopback interface and private ranges.
    Internet,
}

impl PermissionValue for Network {
    fn asked(&self) -> Vec<String> {
        (*self == Self::Internet).asked()
    }
}

/// Files and folders of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Files(pub Vec<FileAccess>);

/// A file or folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileAccess {
    /// Absolute, or starting with `~/`.
    #[serde(deserialize_with = "host_path")]
    pub path: PathBuf,
    pub access: Access,
}

/// Access to a file of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    Read,
    /// Read and write.
    Write,
}

fn host_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let upward = text.split('/').any(|part| part == "..");
    if upward || !(text.starts_with('/') || text.starts_with("~/") || text == "~") {
        return Err(D::Error::custom(format!("{text:?} is not a path of the host; expected /… or ~/… without \"..\"")));
    }
    Ok(text.into())
}

impl PermissionValue for Files {
    fn asked(&self) -> Vec<String> {
        let line = |file: &FileAccess| {
            let verb = if file.access == Access::Write { "read and change" } else { "read" };
            format!("{verb} {}", file.path.display())
        };
        self.0.iter().map(line).collect()
    }

    fn entries(&self) -> usize {
        self.0.len()
    }
}
