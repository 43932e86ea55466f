//! What the supervisor and an init say to each other, after [`super::launch::Isolation`] for the first stage and
//! [`super::launch::Setup`] for the second: JSON, one message per packet of their socket pair. Both are the
//! same binary, so this may change with every version. The end of the socket is the lifeline: an init whose supervisor
//! is gone kills everything and exits.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::limits::Measure;

/// Largest message, bytes. The environment is the bulk of it.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

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
