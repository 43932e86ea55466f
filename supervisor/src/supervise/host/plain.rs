//! macOS and Windows: a child is watched by its own task, and nothing is known of what it started.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::home::Home;
use crate::process::Groups;
use crate::supervise::gateway::folder_of_all;
use crate::supervise::{Programs, StartError};

/// Measures that this version does not take, and why.
pub(in crate::supervise) const NOT_TAKEN: [(&str, &str); 4] = [
    ("own_user", "this version runs plugins as the daemon's user"),
    ("system_calls", "this version does not filter system calls"),
    ("files", "this version hides no files here"),
    ("disk", "this version measures the data folder and does not limit it"),
];

/// What children share.
#[derive(Debug)]
pub(in crate::supervise) struct Host {
    pub(in crate::supervise) groups: Arc<Groups>,
    gateways: PathBuf,
}

impl Host {
    /// Nothing can be swept: what an earlier daemon left is not known.
    pub(in crate::supervise) async fn set_up(home: &Home, _programs: &Programs) -> Result<Self, StartError> {
        Ok(Self { groups: Arc::default(), gateways: folder_of_all(&home.sockets()) })
    }

    /// Removes what was made for children; to be called when none is left.
    pub(in crate::supervise) async fn finish(self) {
        let _ = std::fs::remove_dir(self.gateways); // One that is not empty is looked at by the next start.
    }
}

/// There are no helpers.
pub fn internal_command() -> Option<ExitCode> {
    None
}

/// Not known; the control secret is what keeps plugins out.
pub(in crate::supervise) fn is_confined(_pid: i32, _tag: &str) -> bool {
    false
}

/// Not known.
pub(in crate::supervise) fn machine_memory() -> Option<u64> {
    None
}

/// Not known.
pub(in crate::supervise) fn is_traced(_pid: i32) -> bool {
    false
}

/// Nothing here depends on it.
pub(in crate::supervise) fn is_root() -> bool {
    false
}

/// As many as asked for: nothing is limited.
pub(in crate::supervise) fn open_files_within(wanted: u64) -> u64 {
    wanted
}

/// Not known.
pub(in crate::supervise) fn resident_bytes(_pid: i32) -> Option<u64> {
    None
}
