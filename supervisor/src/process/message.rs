//! What the supervisor and an init say to each other: JSON, one message per packet of their socket pair. Both are the
//! same binary, so this may change with every version. The end of the socket is the lifeline: an init whose supervisor
//! is gone kills everything and exits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::limits::Measure;

/// Largest message, bytes. The environment is the bulk of it.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

/// First message to the first stage: which namespaces to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// A user namespace: needed for the others when not root.
    pub(crate) user: bool,
    /// A mount and a pid namespace.
    pub(crate) process: bool,
    /// A network namespace with nothing but a loopback.
    pub(crate) network: bool,
}

/// Second message, to the second stage: what to run and how. Descriptors attached to it become 3, 4, … of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Program and arguments; a program without `/` is looked up in the `PATH` of `environment`.
    pub(crate) command: Vec<String>,
    /// Working folder.
    pub(crate) folder: PathBuf,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Folders to cover with an empty one.
    pub(crate) hidden: Vec<PathBuf>,
    /// Folders to keep in place where they lie in hidden ones.
    pub(crate) kept: Vec<Kept>,
    /// Most open descriptors.
    pub(crate) open_files: u64,
    /// Most processes and threads, for where a user namespace can enforce it: there the kernel counts for it alone.
    pub(crate) processes: Option<u32>,
    /// Whether it may bind ports below 1024; all other capabilities are always dropped.
    pub(crate) low_ports: bool,
    /// Report ready once this loopback port answers.
    pub(crate) ready_port: Option<u16>,
}

/// A folder that stays visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// Whether the child may write there.
    pub(crate) writable: bool,
}

/// What the supervisor orders of a running init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Ask the child to end: SIGTERM to its process group.
    Terminate,
}

/// What an init reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// How one measure of confinement went.
    Measure(Measure),
    /// The second stage runs, under this pid of the supervisor's namespace.
    Init { pid: i32 },
    /// The child runs.
    Running {
        /// Its pid; in a pid namespace it is in the credentials of this message instead, where the kernel translates it.
        pid: Option<i32>,
    },
    /// Its port answers.
    Ready,
    /// It ended.
    Ended(Outcome),
    /// It could not be started.
    Failed {
        /// Why, with what was tried.
        reason: String,
    },
}
