//! The document of `polypeer status`.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::{NodeId, PluginId};
use serde::{Deserialize, Serialize};

/// `polypeer status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    pub version: String,
    pub uptime_s: u64,
    /// Addresses bound, `IP:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<String>>,
    /// `public`, `mapped`, `punchable`, `relayed` or `unknown`.
    pub reach: String,
    /// The network core's process.
    pub netcore: NetcoreDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeerCounts>,
    /// Discovery sources in the order they are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceDocument>>,
    /// UDP payload since the network core started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficDocument>,
    /// All installed plugins.
    pub plugins: Vec<PluginState>,
    /// What the operator should act on, the most important first; empty when all is well.
    #[serde(default)]
    pub problems: Vec<ProblemDocument>,
    /// The loopback address where metrics are read, if the configuration names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Counters of the network core that are not 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Peers that broke a rule, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offenders: Vec<OffenderDocument>,
}

/// What is wrong with the node, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    pub problem: String,
    pub remedy: String,
}

/// A peer that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffenderDocument {
    /// Absent when it was refused before the handshake authenticated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Its latest address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub reason: String,
    /// Number of offences since the network core started.
    pub count: u64,
    /// Time since the latest offence, seconds.
    pub ago_s: u64,
}

/// The network core's process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NetcoreDocument {
    /// Present while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// A state as of [`super::PluginDocument`].
    pub state: String,
    /// Since the daemon started.
    pub restarts: u64,
    /// Resident memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// How its last run ended, for people; absent before its first restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
}

/// Numbers of peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// Connected now.
    pub connected: u64,
    /// Known peers, connected ones included.
    pub known: u64,
}

/// One discovery source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// `remembered`, `lan`, …
    pub name: String,
    pub enabled: bool,
    /// Time since it last found a peer, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_s: Option<u64>,
    /// Peers it found.
    pub found: u64,
    /// `off`, `idle`, `asking`, `working` or `failing`.
    pub state: String,
    /// Why it fails, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// UDP payload, bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficDocument {
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// The state of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginState {
    pub id: PluginId,
    /// As in [`super::PluginDocument`].
    pub state: String,
}
