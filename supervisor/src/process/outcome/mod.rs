//! The outcome of a child, and its description for people.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fmt;

use serde::{Deserialize, Serialize};
#[cfg(unix)]
use unix::signal_name;
#[cfg(windows)]
use windows::signal_name;

use crate::manifest::values::shown_size;

/// The signal that tells a process to end, on every system that has it.
const SIGTERM: i32 = 15;

/// What the kernel said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It exited with this status.
    Exited(i32),
    /// A signal of this number killed it.
    Signalled(i32),
    /// The init was killed, and with it everything in its namespace.
    InitLost,
    /// It never ran.
    NotStarted { reason: String },
    /// It exceeded its memory limit, as sampled where there is no control group, and was killed.
    OverSampledLimit {
        /// Memory used, bytes.
        used: u64,
    },
}

/// The end of a child, with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What the kernel said.
    pub outcome: Outcome,
    /// Whether the kernel killed one of its processes because memory ran out.
    pub out_of_memory: bool,
    /// Its memory limit, bytes.
    pub memory_limit: Option<u64>,
}

impl Ended {
    /// One that never ran.
    pub fn not_started(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::NotStarted { reason: reason.into() }, out_of_memory: false, memory_limit: None }
    }

    /// Whether it ended as a child does that is told to: of SIGTERM, or with status 0.
    pub fn is_as_told(&self) -> bool {
        self.is_success() || matches!(self.outcome, Outcome::Signalled(number) if number == SIGTERM)
    }

    /// Whether it exited with status 0.
    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Exited(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |f: &mut fmt::Formatter<'_>| match self.memory_limit {
            Some(bytes) => write!(f, ", limit {}", shown_size(bytes)),
            None => Ok(()),
        };
        match &self.outcome {
            // The kernel kills with SIGKILL when memory runs out. A child that ends otherwise after losing a helper
            // ended of that, too.
            Outcome::Signalled(9) if self.out_of_memory => {
                f.write_str("killed: out of memory")?;
                limit(f)
            }
            Outcome::OverSampledLimit { used } => {
                write!(f, "killed: out of memory, {} in use when sampled", shown_size(*used))?;
                limit(f)
            }
            Outcome::Exited(status) => {
                write!(f, "exited with status {status}")?;
                if self.out_of_memory {
                    f.write_str(" after the kernel killed a process of it: out of memory")?;
                    limit(f)?;
                }
                Ok(())
            }
            Outcome::Signalled(number) => match signal_name(*number) {
                Some(name) => write!(f, "killed by signal {number} ({name})"),
                None => write!(f, "killed by signal {number}"),
            },
            Outcome::InitLost if self.out_of_memory => {
                f.write_str("killed: out of memory")?;
                limit(f)
            }
            Outcome::InitLost => f.write_str("killed together with its init"),
            Outcome::NotStarted { reason } => write!(f, "could not be started: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let ended =
            |outcome, out_of_memory| Ended { outcome, out_of_memory, memory_limit: Some(256 << 20) }.to_string();
        assert_eq!(ended(Outcome::Exited(3), false), "exited with status 3");
        assert_eq!(ended(Outcome::Signalled(9), false), "killed by signal 9 (SIGKILL)");
        assert_eq!(ended(Outcome::Signalled(9), true), "killed: out of memory, limit 256 MiB");
        assert_eq!(ended(Outcome::Signalled(40), false), "killed by signal 40");
    }
}
