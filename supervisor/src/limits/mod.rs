//! What a child may use, and what of it this machine could be made to enforce. Control groups do most of it
//! (`cgroup`); where there are none, memory is sampled over the process tree (`sampled`). Called by
//! [`crate::process`] before any code of a plugin runs. Both are Linux's; elsewhere no limit is enforced yet.

#[cfg(target_os = "linux")]
pub mod cgroup;
#[cfg(target_os = "linux")]
pub mod sampled;

#[cfg(target_os = "linux")]
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One measure of confinement: whether it is applied to a child and, if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// A stable name: `memory`, `pid_namespace`, …
    pub measure: String,
    /// Whether it is applied; for a limit, whether the kernel reads the value back.
    pub applied: bool,
    /// The reason if not, or what replaces it.
    pub why_not: Option<String>,
}

impl Measure {
    /// A measure that is applied.
    pub fn applied(measure: &str) -> Self {
        Self { measure: measure.to_owned(), applied: true, why_not: None }
    }

    /// A measure that is not applied.
    pub fn missing(measure: &str, why_not: impl ToString) -> Self {
        Self { measure: measure.to_owned(), applied: false, why_not: Some(why_not.to_string()) }
    }

    /// A measure that is applied if `result` is a success.
    pub fn from_result<E: std::fmt::Display>(measure: &str, result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::applied(measure),
            Err(error) => Self::missing(measure, error),
        }
    }
}

/// Pauses between two looks at what ends in a moment: short ones first, then up to 5 ms.
#[cfg(target_os = "linux")]
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(Duration::from_micros(50)), |last| Some((*last * 2).min(Duration::from_millis(5))))
}

/// Usage of one process without its descendants. Unknown on systems other than Linux.
pub fn of_process(pid: u32) -> Usage {
    #[cfg(target_os = "linux")]
    let usage = sampled::of_process(pid).unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    let (_, usage) = (pid, Usage::default());
    usage
}

/// Present usage of a child. `None`: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory without the file cache that can be freed at once, bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time since the start, microseconds.
    pub cpu_us: Option<u64>,
    /// Processes and threads, without the init.
    pub pids: Option<u64>,
}
