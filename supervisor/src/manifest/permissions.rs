//! Permissions of plugins: the keys of `[permissions]`, each declared once in the table below. Parsing, the words at
//! install, the list of what is not enforced, netcore's grants and the reference in `docs/manifest.md` follow from it.
//!
//! A permission that is absent is denied. Grants are derived from the stored manifest and the operator's list of peers
//! whenever they are needed; only those two are stored.

use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{NodeId, Pattern};
use serde::Deserialize;

pub use super::permission_value::{Access, FileAccess, Files, Network, Peers, Privacy, Protocols};
use super::permission_value::{Granted, PermissionValue};
use super::values::{MappedPort, Size};

/// One permission: what is the same for every plugin.
#[derive(Debug)]
pub struct Permission {
    /// Its key in `[permissions]`.
    pub key: &'static str,
    /// One sentence for the reference.
    pub meaning: &'static str,
    /// Whether this version enforces it, or only stores it.
    pub is_enforced: bool,
    /// The words at install. `{}` stands for the value, `{peers}` for the peers the plugin may communicate with,
    /// `{reached}` for those it may open connections to. Empty for what has no line of its own.
    words: &'static str,
}

/// Each row: key: type => field of [`Grants`] if netcore enforces it, whether enforced, words at install.
macro_rules! permissions {
    ($($(#[doc = $meaning:literal])+ $key:ident: $type:ty $(=> $grant:ident)?, $status:ident, $words:literal;)+) => {
        /// Every permission, in the order of the reference.
        pub const PERMISSIONS: &[Permission] = &[$(Permission {
            key: stringify!($key),
            meaning: concat!($($meaning),+).trim_ascii(),
            is_enforced: matches!(Status::$status, Status::Enforced),
            words: $words,
        }),+];

        /// `[permissions]` of a manifest.
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Permissions {
            $($(#[doc = $meaning])+ pub $key: $type,)+
        }

        impl Permissions {
            /// The value of each permission, in the order of [`PERMISSIONS`].
            fn values(&self) -> Vec<&dyn PermissionValue> {
                vec![$(&self.$key),+]
            }

            /// What netcore enforces. `list` is the operator's list for `peers = "list"`.
            pub fn grants(&self, list: &[NodeId]) -> Grants {
                Grants { $($($grant: self.$key.granted(list),)?)+ }
            }
        }
    };
}

/// Whether this version acts on a permission.
enum Status {
    Enforced,
    NotEnforced,
}

permissions! {
    /// Protocols whose streams and calls it accepts from peers, such as `["chat/1"]` or `["chat/*"]`.
    serve: Protocols => serve, Enforced, "accept connections from {peers}: {}";
    /// Protocols whose streams and calls it opens, to peers and to plugins of this node.
    dial: Protocols => dial, Enforced, "open connections to {reached}: {}";
    /// Protocols it serves to plugins of this node and to the operator, never to peers.
    serve_local: Protocols => serve_local, Enforced, "serve you and other plugins of this node: {}";
    /// Peers it communicates with: `"any"`, `"list"` (the operator's list) or `"group:ID"`.
    peers: Peers => peers, Enforced, "";
    /// Gossip topics it subscribes and publishes to, such as `["chat/*"]`.
    topics: Vec<Pattern> => topics, Enforced, "publish and receive messages on topics: {}";
    /// Names of DHT records and providers it stores and looks up, such as `["chat/*"]`.
    dht: Vec<Pattern> => dht, Enforced, "store and look up public records: {}";
    /// Names for key-based routing.
    routes: Vec<Pattern> => routes, NotEnforced, "route messages by key: {}";
    /// Whether it creates and joins groups.
    groups: bool, NotEnforced, "create and join groups";
    /// Space for messages to offline peers, such as `"1MiB"`.
    mailbox: Option<Size>, NotEnforced, "leave messages for peers that are offline: {}";
    /// Ports mapped on the router, such as `["udp:51413"]`.
    map_ports: Vec<MappedPort>, NotEnforced, "open ports of your router: {}";
    /// The least private path it may use: `"direct"`, `"relayed"` or `"private"`.
    privacy: Privacy, NotEnforced, "reach peers through {} only";
    /// Whether it has a node id of its own; requires `privacy` of `"relayed"` or `"private"`.
    persona: bool, NotEnforced, "act under a node id of its own";
    /// The network of the operating system: `"none"` or `"internet"`, in this version the whole network of the host.
    network: Network, Enforced, "use the host's network directly, local services included";
    /// Loopback ports of the host it connects to, such as `[5432]`.
    host_ports: Vec<u16>, NotEnforced, "connect to ports of this machine: {}";
    /// Files and folders of the host, such as `[{ path = "~/Downloads", access = "write" }]`.
    files: Files, NotEnforced, "{}";
    /// Graphics devices, such as `["nvidia:0", "render"]`.
    gpu: Vec<String>, NotEnforced, "use graphics devices: {}";
}

impl Permissions {
    /// The permissions asked for, each as a phrase such as "create and join groups".
    pub fn in_words(&self) -> Vec<String> {
        let peers = self.peers.asked().pop();
        let reached = peers.as_deref().unwrap_or("plugins of this node");
        let mut lines = Vec::new();
        for (permission, value) in PERMISSIONS.iter().zip(self.values()).filter(|(row, _)| !row.words.is_empty()) {
            let words = permission.words.replace("{peers}", peers.as_deref().unwrap_or("no peer"));
            let words = words.replace("{reached}", reached);
            lines.extend(value.asked().iter().map(|text| words.replace("{}", text)));
        }
        if lines.is_empty() {
            lines.push("no permissions".into());
        }
        lines
    }

    /// The keys that are set and that this version does not enforce.
    pub fn not_enforced(&self) -> Vec<String> {
        let key = |(permission, value): (&Permission, &dyn PermissionValue)| match value.not_enforced() {
            Some(text) => Some(format!("{} = {text:?}", permission.key)),
            None => (!permission.is_enforced && !value.asked().is_empty()).then(|| permission.key.to_owned()),
        };
        PERMISSIONS.iter().zip(self.values()).filter_map(key).collect()
    }

    /// The keys with the number of entries of each.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'static str, usize)> {
        PERMISSIONS.iter().zip(self.values()).map(|(permission, value)| (permission.key, value.entries()))
    }
}
