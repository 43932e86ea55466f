//! Messages between the supervisor and an init: JSON, one per packet of their socket pair. They follow
//! [`super::launch::Isolation`] for the first stage and [`super::launch::Setup`] for the second. Both ends are the same
//! binary, so this may change with every version. The end of the socket is the lifeline: an init whose supervisor is
//! gone kills everything and exits.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::limits::Measure;

/// Largest message, bytes. Most of it is the environment.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;

/// Orders of the supervisor to a running init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Send SIGTERM to the child's process group.
    Terminate,
}

/// Reports of an init to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Result of one measure of confinement.
    Measure(Measure),
    /// The second stage is running, with this pid in the supervisor's namespace.
    Init { pid: i32 },
    /// The child runs.
    Running {
        /// Its pid. From a pid namespace it comes in the credentials of this message instead, which the kernel
        /// translates.
        pid: Option<i32>,
    },
    /// Its readiness port accepts connections.
    Ready,
    /// It ended.
    Ended(Outcome),
    /// It could not be started.
    Failed {
        /// The failed step and its error.
        reason: String,
    },
}
