//! `polypeer internal-init`: the fork server and the small processes that it forks, one between the supervisor and each
//! child. All are single-threaded, so they can do what a process with threads must not do after a fork.
//!
//! The first stage joins the child's control groups, enters new namespaces, forks the second and exits; a pid namespace
//! only begins with the next process. The second stage, PID 1 in a pid namespace, sets everything up, starts the child,
//! reaps orphans, and kills everything when the child or the supervisor ends. Descriptor 0 of both is their end of the
//! socket pair to [`super::spawn`], that of the fork server the end of the one to [`super::fork_server`].

mod mounts;
mod namespaces;
mod privileges;
mod second;
mod server;
mod tree;

use std::ffi::{CStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use nix::sys::prctl;

use super::channel::{receive, send};
use super::launch::Isolation;
use super::message::Report;
use crate::kernel::{Forked, fork};

/// The hidden subcommand of `polypeer`.
pub const SUBCOMMAND: &str = "internal-init";
/// What `ps` calls the fork server.
pub(super) const TITLE: &str = "polypeer: fork server";
/// Room for the command line of an init, bytes: its title of at most 60, [`SUBCOMMAND`], and the folder of a gateway,
/// which is short because the path of a socket is.
pub(super) const COMMAND_LINE: usize = 512;

/// The name of all of them for the kernel, which `top` and `ps -o comm` show; at most 15 bytes.
const NAME: &CStr = c"polypeer-init";

/// Runs the fork server and, in the processes that it forks, the init; `arguments` are those after [`SUBCOMMAND`]. Must
/// be called before any thread is started.
pub fn main(mut arguments: impl DoubleEndedIterator<Item = OsString>) -> ExitCode {
    close_inherited();
    let _ = prctl::set_name(NAME); // A name is for people; without it the program's own is shown.
    let mark = arguments.next_back().unwrap_or_default();
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    match server::serve(socket, &mark.to_string_lossy()) {
        Ok(server::Served::Everything) => ExitCode::SUCCESS,
        // This is a new process.
        Ok(server::Served::Born) => conclude(socket, first(socket)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "polypeer: the fork server ended: {error}"); // There is nowhere else to report it.
            ExitCode::FAILURE
        }
    }
}

/// The exit status of a stage; a failure is reported. If that cannot be sent, the supervisor has ended.
fn conclude(socket: BorrowedFd<'_>, result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = send(socket, &Report::Failed { reason }, &[]);
            ExitCode::FAILURE
        }
    }
}

/// Closes all descriptors above 2, also those that the supervisor itself inherited.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The descriptor that listed the folder is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}

fn first(socket: BorrowedFd<'_>) -> Result<(), String> {
    let isolation = receive::<Isolation>(socket).map_err(|error| format!("no order arrived: {error}"))?;
    let Some(isolation) = isolation.map(|received| received.message) else { return Ok(()) };
    // First, so that everything after it counts in the groups, which the limits are written to already.
    for file in &isolation.groups {
        fs::write(file, "0").map_err(|error| format!("cannot join {}: {error}", file.display()))?;
    }
    let (standing, measures) = namespaces::leave(&isolation);
    for measure in measures {
        send(socket, &Report::Measure(measure), &[]).map_err(|error| error.to_string())?;
    }
    match fork().map_err(|error| format!("cannot start the second stage of init: {error}"))? {
        // Valid in the supervisor's pid namespace, where the new one was created.
        Forked::Parent { child } => send(socket, &Report::Init { pid: child }, &[]).map_err(|error| error.to_string()),
        Forked::Child => second::run(socket, &standing),
    }
}
