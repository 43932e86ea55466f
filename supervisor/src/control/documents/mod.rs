//! The documents of `--json`, as specified in `docs/design.md`, section 8. Names are stable, units are part of the
//! name, absent means unknown. Each of `status`, `peer`, `plugin` and `doctor` has those of one command.

mod doctor;
mod peer;
mod plugin;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::config::{ReloadDocument, SettingDocument, SettingSource};
pub use doctor::{CauseDocument, Check, DoctorDocument, Verdict};
pub use peer::{PeerDocument, PingDocument, milliseconds};
pub use plugin::{GrantsDocument, Leftover, PluginDocument, PluginLine};
pub use status::{
    NetcoreDocument, OffenderDocument, PeerCounts, PluginState, ProblemDocument, SourceDocument, StatusDocument,
    TrafficDocument,
};

/// `polypeer log-level`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLevelDocument {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Levels of parts of the node.
    pub targets: BTreeMap<String, String>,
}
