//! Status of a plugin, as the supervisor's task reports it; absent means unknown.

use polypeer_ipc_protocol::ids::PluginId;
use serde::{Deserialize, Serialize};

use super::State;
use crate::limits::Measure;

/// Status of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginStatus {
    pub id: PluginId,
    pub state: State,
    /// Pid of its process in the daemon's pid namespace.
    pub pid: Option<i32>,
    /// Number of automatic restarts.
    pub restarts: u32,
    /// How its last run ended, for people.
    pub exit_reason: Option<String>,
    /// What it is in the middle of, or what is amiss; for people.
    pub note: Option<String>,
    /// Why it may not start again with its limits; for people.
    pub too_tight: Option<String>,
    /// The last line of its output since its last start.
    pub last_line: Option<String>,
    pub usage: UsageStatus,
    /// Measures of confinement, since its last start.
    pub confinement: Vec<Measure>,
}

/// Usage of a plugin. Its names are those of `--json` and stable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageStatus {
    /// Memory without the file cache that can be freed at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time over the latest seconds, percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Size of its data folder, measured from time to time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Sent to peers since netcore started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Received from peers since netcore started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}
