//! What starting and ending a child takes on Windows.

use std::io;
use std::process::{Command, ExitStatus, Stdio};

use polypeer_ipc_protocol::transport::admin::AdminEnd;
use tokio::process::Child;

use crate::limits::Measure;
use crate::process::Outcome;

/// What Windows lacks beside: its job objects, which would do it, are not used yet.
pub(super) fn measures() -> Vec<Measure> {
    let whole =
        "no job object holds it in this version: what the plugin started outlives it, and outlives a killed daemon";
    let stop = "Windows has no request to end: stopping the plugin kills it";
    vec![Measure::missing("whole_tree", whole), Measure::missing("orderly_stop", stop)]
}

/// Sets stdin, stdout and stderr; the admin session is the first two.
pub(super) fn connect(command: &mut Command, admin: Option<AdminEnd>) -> io::Result<()> {
    command.stderr(Stdio::piped());
    match admin {
        Some(admin) => command.stdin(Stdio::from(admin.reader)).stdout(Stdio::from(admin.writer)),
        None => command.stdin(Stdio::null()).stdout(Stdio::piped()),
    };
    Ok(())
}

/// Kills it.
pub(super) fn terminate(child: &mut Child) {
    kill(child);
}

/// Kills it; what it started lives on.
pub(super) fn kill(child: &mut Child) {
    let _ = child.start_kill(); // It may have ended a moment ago.
}

/// How it ended; a process that is killed has status 1.
pub(super) fn outcome(status: ExitStatus) -> Outcome {
    Outcome::Exited(status.code().unwrap_or_default())
}
