//! What a node uses at one moment, for `polypeer top` and the metrics. Bytes and processor time are totals, so that two
//! samples give a rate.

use polypeer_ipc_protocol::ids::PluginId;
use serde::{Deserialize, Serialize};

use super::documents::StatusDocument;
use crate::supervise::UsageStatus;

/// One moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub status: StatusDocument,
    pub daemon: ProcessUse,
    pub netcore: ProcessUse,
    /// All installed plugins, in the order of their ids.
    pub plugins: Vec<PluginUse>,
}

/// What a process of the node itself uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Processor time since its start, microseconds.
    pub processor_us: Option<u64>,
}

/// What a plugin uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginUse {
    pub id: PluginId,
    /// As in the document of `plugin info`.
    pub state: String,
    pub restarts: u64,
    pub usage: UsageStatus,
}
