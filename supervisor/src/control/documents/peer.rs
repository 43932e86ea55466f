//! The documents of `polypeer peers`.

use polypeer_ipc_protocol::admin::{PeerRecord, PeerState};
use polypeer_ipc_protocol::gateway::Path;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use serde::{Deserialize, Serialize};

use crate::petname::Petname;

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
