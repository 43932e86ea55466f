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
    #[error("processes of an earlier daemon cannot be killed: {problem}")]
    Leftovers {
        /// Which, and why.
        problem: String,
    },
    /// The network core does not start.
    #[error("the network core does not start: {how}{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>())]
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
            Self::Leftovers { .. } => "they wait for a disk or a device: look at them with `ps`, then try again".into(),
            Self::Netcore { .. } => "what it said is above; the whole log is logs/netcore_.log in the home".into(),
        }
    }
}
