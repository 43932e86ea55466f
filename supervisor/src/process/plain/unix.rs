//! What starting and ending a child takes on a Unix that is not Linux.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use polypeer_ipc_protocol::transport::admin::AdminEnd;
use tokio::process::Child;

use crate::limits::Measure;
use crate::process::Outcome;

/// The descriptor of the admin session in netcore.
const ADMIN: i32 = 3;

/// What a process group does not do.
pub(super) fn measures() -> Vec<Measure> {
    let whole = "a process that leaves the plugin's process group outlives it, and a plugin outlives a killed daemon";
    vec![Measure::missing("whole_tree", whole)]
}

/// Sets stdin, stdout and stderr, a process group of its own, and descriptor 3.
pub(super) fn connect(command: &mut Command, admin: Option<AdminEnd>) -> io::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(admin) = admin {
        pass(command, admin);
    }
    Ok(())
}

#[allow(unsafe_code, reason = "a descriptor can only be given a number between fork and exec")]
fn pass(command: &mut Command, admin: OwnedFd) {
    let give = move || {
        // SAFETY: `admin` is open, as this closure owns it, and nothing in the child owns number 3 yet. The copy stays
        // open over exec, also where the number is 3 already.
        let given = match admin.as_raw_fd() {
            ADMIN => unsafe { nix::libc::fcntl(ADMIN, nix::libc::F_SETFD, 0) },
            other => unsafe { nix::libc::dup2(other, ADMIN) },
        };
        if given < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(give) };
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = killpg(Pid::from_raw(pid), signal); // It may have ended a moment ago.
    }
}

/// SIGTERM to its process group.
pub(super) fn terminate(child: &mut Child) {
    signal(child, Signal::SIGTERM);
}

/// SIGKILL to its process group.
pub(super) fn kill(child: &mut Child) {
    signal(child, Signal::SIGKILL);
}

/// How it ended.
pub(super) fn outcome(status: ExitStatus) -> Outcome {
    match status.signal() {
        Some(number) => Outcome::Signalled(number),
        None => Outcome::Exited(status.code().unwrap_or_default()),
    }
}
