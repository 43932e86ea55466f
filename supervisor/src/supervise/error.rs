//! Why the supervisor cannot start.

use std::io;
use std::path::PathBuf;

/// Why the supervisor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something could not be done to a path.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What an earlier daemon left behind cannot be killed.
    #[error("failed to kill processes of an earlier daemon: {problem}")]
    Leftovers {
        /// Which, and why.
        problem: String,
    },
    /// The network core does not start.
    #[error("the network core did not start: {how}{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>())]
    Netcore {
        /// How it ended.
        how: String,
        /// What it said last.
        lines: Vec<String>,
    },
}

impl StartError {
    /// The next thing to try.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "check the path, its permissions, and that the disk is not full".into(),
            Self::Leftovers { .. } => {
                "they are waiting for a disk or a device: inspect them with `ps`, then try again".into()
            }
            Self::Netcore { .. } => "its last output is above; the whole log is logs/netcore_.log in the home".into(),
        }
    }
}
