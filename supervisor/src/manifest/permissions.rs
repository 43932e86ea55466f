//! What a plugin asks to be allowed. Everything absent is denied. Shown in plain words at install by
//! [`Permissions::in_words`], stored as grants, enforced by the process side and by netcore.

use std::path::PathBuf;

use polypeer_ipc_protocol::gateway::{Grants, PeerScope};
use polypeer_ipc_protocol::ids::{NodeId, Pattern, Protocol};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::values::{self, MappedPort, shown_size};

/// `[permissions]` of a manifest.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Protocols it may accept from peers.
    #[serde(deserialize_with = "protocols")]
    pub serve: Vec<Pattern>,
    /// Protocols it may open.
    #[serde(deserialize_with = "protocols")]
    pub dial: Vec<Pattern>,
    /// Protocols for plugins of this node and the operator only.
    #[serde(deserialize_with = "protocols")]
    pub serve_local: Vec<Pattern>,
    /// The peers it may deal with.
    pub peers: Peers,
    /// Gossip topics.
    pub topics: Vec<Pattern>,
    /// DHT records.
    pub dht: Vec<Pattern>,
    /// Key-based routing names.
    pub routes: Vec<Pattern>,
    /// Whether it may use groups.
    pub groups: bool,
    /// Room in the mailboxes of others, bytes.
    #[serde(deserialize_with = "values::optional_size")]
    pub mailbox: Option<u64>,
    /// Ports of the router.
    pub map_ports: Vec<MappedPort>,
    /// The least private way it may use.
    pub privacy: Privacy,
    /// Whether it has a node id of its own.
    pub persona: bool,
    /// The network of the operating system.
    pub network: Network,
    /// Loopback ports of the host.
    pub host_ports: Vec<u16>,
    /// Files of the host.
    pub files: Vec<FileAccess>,
    /// Devices, such as `nvidia:0` or `render`.
    pub gpu: Vec<String>,
}

/// The peers a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Peers {
    /// None.
    #[default]
    None,
    /// All.
    Any,
    /// Those of a list the operator keeps.
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

/// How packets of a plugin may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Straight.
    #[default]
    Direct,
    /// Peers do not see the address.
    Relayed,
    /// No hop knows both ends.
    Private,
}

/// The network of the operating system, not the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A private loopback.
    #[default]
    None,
    /// The internet; no host loopback, no private ranges.
    Internet,
}

/// A file or folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileAccess {
    /// Absolute or starting with `~/`.
    #[serde(deserialize_with = "host_path")]
    pub path: PathBuf,
    /// To do what.
    pub access: Access,
}

/// What may be done with a file of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Look at it.
    Read,
    /// Look at it and change it.
    Write,
}

/// Protocols, or patterns of them; a pattern without `*` must be a protocol.
fn protocols<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| {
        let pattern: Option<Pattern> = text.parse().ok();
        pattern.filter(|_| text.ends_with('*') || text.parse::<Protocol>().is_ok()).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a protocol; expected name/version such as \"chat/1\", or a pattern such as \"chat/*\""
            ))
        })
    };
    texts.iter().map(parse).collect()
}

fn host_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let upward = text.split('/').any(|part| part == "..");
    if upward || !(text.starts_with('/') || text.starts_with("~/") || text == "~") {
        return Err(D::Error::custom(format!("{text:?} is not a path of the host; expected /… or ~/… without \"..\"")));
    }
    Ok(text.into())
}

impl Permissions {
    /// What netcore enforces of these. `list` is the operator's list for `peers = "list"`.
    pub fn grants(&self, list: &[NodeId]) -> Grants {
        Grants {
            serve: self.serve.clone(),
            dial: self.dial.clone(),
            serve_local: self.serve_local.clone(),
            peers: match &self.peers {
                Peers::None | Peers::Group(_) => PeerScope::List(Vec::new()),
                Peers::Any => PeerScope::Any,
                Peers::List => PeerScope::List(list.to_vec()),
            },
            topics: self.topics.clone(),
            dht: self.dht.clone(),
            routes: self.routes.clone(),
        }
    }

    /// Each permission asked for as one line in plain words.
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut say = |wanted: bool, line: String| {
            if wanted {
                lines.push(line);
            }
        };
        let whom = match &self.peers {
            Peers::None => "no peer".to_owned(),
            Peers::Any => "any peer".into(),
            Peers::List => "the peers you list".into(),
            Peers::Group(id) => format!("members of the group {id}"),
        };
        say(!self.serve.is_empty(), format!("accept connections from {whom}: {}", joined(&self.serve)));
        let reached = if self.peers == Peers::None { "plugins of this node" } else { &whom };
        say(!self.dial.is_empty(), format!("open connections to {reached}: {}", joined(&self.dial)));
        let local = joined(&self.serve_local);
        say(!self.serve_local.is_empty(), format!("serve you and other plugins of this node: {local}"));
        say(!self.topics.is_empty(), format!("publish and receive messages on topics: {}", joined(&self.topics)));
        say(!self.dht.is_empty(), format!("store and look up public records: {}", joined(&self.dht)));
        say(!self.routes.is_empty(), format!("route messages by key: {}", joined(&self.routes)));
        say(self.groups, "create and join groups".into());
        let mailbox = shown_size(self.mailbox.unwrap_or(0));
        say(self.mailbox.is_some_and(|size| size > 0), format!("leave messages for peers that are offline: {mailbox}"));
        say(!self.map_ports.is_empty(), format!("open ports of your router: {}", joined(&self.map_ports)));
        say(self.privacy == Privacy::Relayed, "reach peers through relays only".into());
        say(self.privacy == Privacy::Private, "reach peers through nested relays only".into());
        say(self.persona, "act under a node id of its own".into());
        say(self.network == Network::Internet, "use the internet directly, beside the peers".into());
        say(!self.host_ports.is_empty(), format!("connect to ports of this machine: {}", joined(&self.host_ports)));
        for file in &self.files {
            let verb = if file.access == Access::Write { "read and change" } else { "read" };
            say(true, format!("{verb} {}", file.path.display()));
        }
        say(!self.gpu.is_empty(), format!("use graphics devices: {}", self.gpu.join(", ")));
        if lines.is_empty() {
            lines.push("nothing beside running".into());
        }
        lines
    }

    /// The keys that are set and that this version does not act on.
    pub fn not_enforced(&self) -> Vec<&'static str> {
        let all = [
            ("peers = \"group:…\"", matches!(self.peers, Peers::Group(_))),
            ("routes", !self.routes.is_empty()),
            ("groups", self.groups),
            ("mailbox", self.mailbox.is_some_and(|size| size > 0)),
            ("map_ports", !self.map_ports.is_empty()),
            ("privacy", self.privacy != Privacy::Direct),
            ("persona", self.persona),
            ("host_ports", !self.host_ports.is_empty()),
            ("files", !self.files.is_empty()),
            ("gpu", !self.gpu.is_empty()),
        ];
        all.iter().filter(|(_, set)| *set).map(|(key, _)| *key).collect()
    }
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
