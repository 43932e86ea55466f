//! The documents of `--json`, as specified in `docs/design.md`, section 8. Names are stable, units are part of the
//! name, absent means unknown.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::admin::{Cause, PeerRecord, PeerState};
use polypeer_ipc_protocol::gateway::Path;
use polypeer_ipc_protocol::ids::{NodeId, PluginId, Protocol};
use serde::{Deserialize, Serialize};

pub use crate::config::{ReloadDocument, SettingDocument, SettingSource};
use crate::limits::Measure;
use crate::petname::Petname;
use crate::supervise::UsageStatus;

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
    /// A state as of [`PluginDocument`].
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
    /// As in [`PluginDocument`].
    pub state: String,
}

/// One element of `polypeer peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerDocument {
    pub node_id: NodeId,
    /// The operator's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Petname>,
    /// `connected`, `known`, `blocked`, or `named` when nothing but its name is known.
    pub state: String,
    /// `direct` or `relayed`, when connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The address in use, or the last one that worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Smoothed round-trip time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Time since it was connected or last seen, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_s: Option<u64>,
    /// Sources that know it.
    pub sources: Vec<String>,
    /// Whether it is a seed that was found without its node id and that no second source has named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// Protocols that it claims to serve.
    pub protocols: Vec<Protocol>,
    /// Since the network core started.
    pub sent_bytes: u64,
    /// Since the network core started.
    pub received_bytes: u64,
    /// Whether the operator protects it.
    #[serde(default)]
    pub protected: bool,
    /// Usefulness: 0 for a new peer, banned below -50.
    #[serde(default)]
    pub score: i32,
    /// Time left of its ban, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banned_s: Option<u64>,
}

impl From<PeerRecord> for PeerDocument {
    fn from(record: PeerRecord) -> Self {
        let state = match record.state {
            PeerState::Connected => "connected",
            PeerState::Known => "known",
            PeerState::Blocked => "blocked",
        };
        let path = record.path.map(|path| match path {
            Path::Direct => "direct",
            Path::Relayed => "relayed",
        });
        Self {
            node_id: record.node,
            name: None,
            state: state.into(),
            path: path.map(Into::into),
            address: record.address,
            rtt_ms: record.rtt_us.map(milliseconds),
            since_s: record.since_s,
            sources: record.sources,
            unverified: record.unverified,
            protocols: record.protocols,
            sent_bytes: record.sent_bytes,
            received_bytes: record.received_bytes,
            protected: record.protected,
            score: record.score,
            banned_s: record.banned_s,
        }
    }
}

impl PeerDocument {
    /// A peer of which nothing but its name is known.
    pub fn of_name(node_id: NodeId, name: Petname) -> Self {
        Self {
            node_id,
            name: Some(name),
            state: "named".into(),
            path: None,
            address: None,
            rtt_ms: None,
            since_s: None,
            sources: Vec::new(),
            unverified: false,
            protocols: Vec::new(),
            sent_bytes: 0,
            received_bytes: 0,
            protected: false,
            score: 0,
            banned_s: None,
        }
    }
}

/// Converts microseconds into milliseconds.
pub fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

/// `polypeer peers ping` and `peers add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingDocument {
    pub node_id: NodeId,
    /// Round-trip time.
    pub rtt_ms: f64,
}

/// One element of `polypeer plugin list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginLine {
    pub id: PluginId,
    /// For people.
    pub name: String,
    pub version: String,
    /// As in [`PluginDocument`].
    pub state: String,
    /// Whether it starts with the daemon.
    pub enabled: bool,
    /// Present while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since the daemon started.
    pub restarts: u64,
    /// Memory of its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Whether it runs from the folder that it was installed from.
    pub linked: bool,
}

/// One element of `polypeer plugin list --removed`: what a removed plugin left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    pub id: PluginId,
    /// Size of its data folder.
    pub data_bytes: u64,
    /// Size of its log.
    pub log_bytes: u64,
}

/// `polypeer plugin info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginDocument {
    pub id: PluginId,
    pub version: String,
    /// `starting`, `ready`, `stopping`, `stopped`, `backoff`, `failed` or `idle`.
    pub state: String,
    /// Present while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since the daemon started.
    pub restarts: u64,
    /// What it is in the middle of, or what is amiss, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How its last run ended, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
    pub grants: GrantsDocument,
    /// Limits in force, with units in the names; what is unlimited is absent.
    pub limits: serde_json::Value,
    /// The operator's limits for this plugin, as typed.
    pub overrides: BTreeMap<String, String>,
    pub usage: UsageStatus,
    /// Measures of confinement, applied or not.
    pub confinement: Vec<Measure>,
    /// Keys of its manifest, and of limits in force, that this version does not enforce.
    pub not_enforced: Vec<String>,
    /// What the operator should know, such as that no peer can reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it starts with the daemon.
    pub enabled: bool,
    /// Where it was installed from.
    pub source: String,
    /// Whether it runs from that folder, so that edits take effect at its next start.
    pub linked: bool,
    /// BLAKE3 of the installed folder, hex; if it is linked, of its place and its manifest.
    pub digest: String,
}

/// The grants of a plugin; absent is denied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GrantsDocument {
    /// The fields of netcore's grants (lists of patterns; `peers` is `any` or node ids), and `network`.
    #[serde(flatten)]
    pub granted: serde_json::Map<String, serde_json::Value>,
    /// The grants as phrases, for people.
    pub in_words: Vec<String>,
}

/// `polypeer log-level`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLevelDocument {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Levels of parts of the node.
    pub targets: BTreeMap<String, String>,
}

/// `polypeer doctor`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DoctorDocument {
    pub checks: Vec<Check>,
    /// With a peer: why it may be unreachable, most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseDocument>,
    /// With a peer: the attempts to dial it, one per line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub result: Verdict,
    pub found: String,
    /// What to do; absent for `ok`, and for `info` that needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// Something to know that needs no action.
    Info,
    /// Something works, but worse than it could.
    Warning,
    /// Something does not work.
    Problem,
}

/// A likely cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseDocument {
    pub cause: String,
    pub remedy: String,
}

impl From<Cause> for CauseDocument {
    fn from(Cause { cause, remedy }: Cause) -> Self {
        Self { cause, remedy }
    }
}
