//! The documents of `--json`, in the words of `docs/design.md`, section 8. Names are stable, units are in the name,
//! absent means unknown.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::admin::{Cause, PeerRecord, PeerState};
use polypeer_ipc_protocol::gateway::Path;
use polypeer_ipc_protocol::ids::{NodeId, PluginId, Protocol};
use serde::{Deserialize, Serialize};

use crate::limits::Measure;
use crate::supervise::UsageStatus;

/// `polypeer status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// This node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Of the daemon, semver.
    pub version: String,
    /// Of the daemon.
    pub uptime_s: u64,
    /// Addresses bound, `IP:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<String>>,
    /// `public`, `mapped`, `punchable`, `relayed` or `unknown`.
    pub reach: String,
    /// The network core's process.
    pub netcore: NetcoreDocument,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeerCounts>,
    /// Discovery sources in the order they are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceDocument>>,
    /// UDP payload since the network core started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficDocument>,
    /// Every installed plugin.
    pub plugins: Vec<PluginState>,
    /// What the operator should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Things the network core counted rather than logged each time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Who did harm lately, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offenders: Vec<OffenderDocument>,
}

/// Somebody who did harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffenderDocument {
    /// Who; absent when it was turned away before it proved who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// From where, the latest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it did.
    pub reason: String,
    /// How often since the network core started.
    pub count: u64,
    /// Since the latest time.
    pub ago_s: u64,
}

/// The network core's process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NetcoreDocument {
    /// While it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// As of a plugin.
    pub state: String,
    /// Since the daemon started.
    pub restarts: u64,
    /// Resident memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
}

/// How many peers there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// Connected now.
    pub connected: u64,
    /// Remembered, connected ones included.
    pub known: u64,
}

/// One discovery source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// `remembered`, `lan`, …
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Seconds since it last found somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_s: Option<u64>,
    /// Peers it found.
    pub found: u64,
    /// `off`, `idle`, `asking`, `working` or `failing`.
    pub state: String,
    /// Why it does not work, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Bytes in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficDocument {
    /// Sent.
    pub sent_bytes: u64,
    /// Received.
    pub received_bytes: u64,
}

/// A plugin and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginState {
    /// Which.
    pub id: PluginId,
    /// As in [`PluginDocument`].
    pub state: String,
}

/// One element of `polypeer peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerDocument {
    /// Who.
    pub node_id: NodeId,
    /// `connected`, `known` or `blocked`.
    pub state: String,
    /// `direct` or `relayed`, when connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// In use, or the last one that worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Smoothed round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Since it was connected, or last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_s: Option<u64>,
    /// Which sources know it.
    pub sources: Vec<String>,
    /// Whether it is a seed that was found without its node id, and nobody else has named it so far.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// What it says it serves.
    pub protocols: Vec<Protocol>,
    /// Since the network core started.
    pub sent_bytes: u64,
    /// Since the network core started.
    pub received_bytes: u64,
    /// Whether the operator wants it to be connected whatever else is.
    #[serde(default)]
    pub protected: bool,
    /// What it did, good and bad: 0 for strangers, banned below -50.
    #[serde(default)]
    pub score: i32,
    /// For how long it is refused for what it did.
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

/// Microseconds as milliseconds.
pub fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

/// `polypeer peers ping` and `peers add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingDocument {
    /// Who answered.
    pub node_id: NodeId,
    /// Round trip.
    pub rtt_ms: f64,
}

/// One element of `polypeer plugin list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginLine {
    /// Which.
    pub id: PluginId,
    /// For people.
    pub name: String,
    /// Semver.
    pub version: String,
    /// As in [`PluginDocument`].
    pub state: String,
    /// Whether it is started with the daemon.
    pub enabled: bool,
    /// While it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since the daemon started.
    pub restarts: u64,
    /// Of the process tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// `polypeer plugin info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginDocument {
    /// Which.
    pub id: PluginId,
    /// Semver.
    pub version: String,
    /// `starting`, `ready`, `stopping`, `stopped`, `backoff`, `failed` or `idle`.
    pub state: String,
    /// While it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since the daemon started.
    pub restarts: u64,
    /// How it last ended, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
    /// What the operator allowed.
    pub grants: GrantsDocument,
    /// In force, with units in the names; what is unlimited is absent.
    pub limits: serde_json::Value,
    /// Keys of `limits` the operator set for this plugin, as typed.
    pub overrides: BTreeMap<String, String>,
    /// Now.
    pub usage: UsageStatus,
    /// What confines it, and what could not be applied.
    pub confinement: Vec<Measure>,
    /// What its manifest asks for and this version does not act on.
    pub not_enforced: Vec<String>,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it is started with the daemon.
    pub enabled: bool,
    /// Where it was installed from.
    pub source: String,
    /// BLAKE3 of the installed folder, hex.
    pub digest: String,
}

/// What the operator allowed a plugin; absent is denied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GrantsDocument {
    /// The fields of netcore's grants (lists of patterns; `peers` is `any` or node ids), and `network`.
    #[serde(flatten)]
    pub granted: serde_json::Map<String, serde_json::Value>,
    /// All of it in plain words.
    pub in_words: Vec<String>,
}

/// `polypeer doctor`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DoctorDocument {
    /// Each thing looked at.
    pub checks: Vec<Check>,
    /// With a peer: why it may not be reachable, most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseDocument>,
    /// With a peer: what was tried, one line an attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// `ok`, `warning` or `problem`.
    pub result: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; absent when nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something works less well than it could.
    Warning,
    /// Something does not work.
    Problem,
}

/// A likely cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseDocument {
    /// What is likely wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl From<Cause> for CauseDocument {
    fn from(Cause { cause, remedy }: Cause) -> Self {
        Self { cause, remedy }
    }
}
