//! What the supervisor knows of a plugin; absent means unknown.

use polypeer_ipc_protocol::ids::PluginId;
use serde::{Deserialize, Serialize};

use super::State;
use crate::limits::Measure;

/// One plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginStatus {
    pub id: PluginId,
    /// Where it stands.
    pub state: State,
    /// Its process, in the daemon's pid namespace.
    pub pid: Option<i32>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How it ended last, in words.
    pub exit_reason: Option<String>,
    /// What it uses.
    pub usage: UsageStatus,
    /// How it is confined, since its last start.
    pub confinement: Vec<Measure>,
}

/// What a plugin uses, as `polypeer plugin info --json` shows it too: the names are stable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageStatus {
    /// Memory without the cache that can be dropped at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time over the last seconds, percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Its data folder, looked at now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// To peers, since netcore started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// From peers, since netcore started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}
