//! The documents of `polypeer plugin`.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::PluginId;
use serde::{Deserialize, Serialize};

use crate::limits::Measure;
use crate::supervise::UsageStatus;

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
