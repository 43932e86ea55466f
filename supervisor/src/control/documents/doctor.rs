//! The document of `polypeer doctor`.

use polypeer_ipc_protocol::admin::Cause;
use serde::{Deserialize, Serialize};

/// `polypeer doctor`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DoctorDocument {
    pub checks: Vec<Check>,
    /// With a peer: why it may be unreachable, most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseDocument>,
    /// With a peer: the attempts to dial it, one per line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub result: Verdict,
    pub found: String,
    /// What to do; absent for `ok`, and for `info` that needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// Something to know that needs no action.
    Info,
    /// Something works, but worse than it could.
    Warning,
    /// Something does not work.
    Problem,
}

/// A likely cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseDocument {
    pub cause: String,
    pub remedy: String,
}

impl From<Cause> for CauseDocument {
    fn from(Cause { cause, remedy }: Cause) -> Self {
        Self { cause, remedy }
    }
}
