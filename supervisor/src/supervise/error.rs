//! Errors of starting the supervisor, and of changing limits.

use std::io;
use std::path::PathBuf;

use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::ids::PluginId;

/// Errors of [`super::Supervisor::start`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An operation on a path failed.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// The operation, to be read after "failed to".
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Processes of an earlier daemon cannot be killed.
    #[error("failed to kill processes of an earlier daemon: {problem}")]
    Leftovers { problem: String },
    /// The network core did not start.
    #[error("the network core did not start: {how}")]
    Netcore {
        how: String,
        /// Its latest output, which is in the log already.
        lines: Vec<String>,
    },
}

/// Errors of [`super::Supervisor::set_limits`]. The limits stay as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The plugin uses more at present.
    #[error("{plugin} uses {used} now, more than {asked}: its limit stays at {kept}")]
    BelowUse {
        plugin: PluginId,
        used: String,
        asked: String,
        /// The limit in force.
        kept: String,
    },
    /// The kernel did not take a limit.
    #[error("the limits of {plugin} stay as they were: {problem}")]
    NotApplied { plugin: PluginId, problem: String },
    /// There is no such plugin, or the daemon is stopping.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl StartError {
    /// Its text, with the last lines of the network core, for whoever does not read the log.
    pub fn in_full(&self) -> String {
        let lines: &[String] = if let Self::Netcore { lines, .. } = self { lines } else { &[] };
        lines.iter().fold(self.to_string(), |text, line| format!("{text}\n  {line}"))
    }

    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "check the path, its permissions, and that the disk is not full".into(),
            Self::Leftovers { .. } => {
                "they are waiting for a disk or a device: inspect them with `ps`, then try again".into()
            }
            Self::Netcore { .. } => "what it said is above, and in logs/netcore_.log in the home".into(),
        }
    }
}
