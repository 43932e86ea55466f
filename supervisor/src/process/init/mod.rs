//! `polypeer internal-init`: the small process between the supervisor and a child. It is single-threaded, so it can do
//! what a process with threads must not do after a fork.
//!
//! The first stage enters new namespaces, starts the second and exits; a pid namespace only begins with the next
//! process. The second stage, PID 1 in a pid namespace, sets everything up, starts the child, reaps orphans, and kills
//! everything when the child or the supervisor ends. Descriptor 0 of both is their end of the socket pair to
//! [`super::spawn`].

mod mounts;
mod namespaces;
mod privileges;
mod second;
mod tree;

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::prctl;

use super::channel::{receive, send};
use super::launch::Isolation;
use super::message::Report;

/// The hidden subcommand of `polypeer`.
pub const SUBCOMMAND: &str = "internal-init";
/// The first argument of the second stage; the namespaces entered follow, then the mark. The first stage only has the
/// mark.
const SECOND: &str = "second";

/// The name of both stages for the kernel, which `top` and `ps -o comm` show; at most 15 bytes.
const NAME: &CStr = c"polypeer-init";

/// Runs the stage named by `arguments`, those after [`SUBCOMMAND`]. Must be called before any thread is started.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    close_inherited();
    let _ = prctl::set_name(NAME); // A name is for people; without it the program's own is shown.
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    let result = match arguments.split_first() {
        Some((stage, standing)) if stage == SECOND => second::run(socket, standing),
        mark => first(socket, mark.map(|(mark, _)| mark.as_str()).unwrap_or_default()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // If the report cannot be sent, the supervisor has ended.
            let _ = send(socket, &Report::Failed { reason }, &[]);
            ExitCode::FAILURE
        }
    }
}

/// Closes all descriptors above 2, also those that the supervisor itself inherited.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The descriptor that listed the folder is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}

fn first(socket: BorrowedFd<'_>, mark: &str) -> Result<(), String> {
    let isolation = receive::<Isolation>(socket).map_err(|error| format!("no order arrived: {error}"))?;
    let Some(isolation) = isolation else { return Ok(()) };
    let (standing, measures) = namespaces::leave(isolation.message);
    for measure in measures {
        send(socket, &Report::Measure(measure), &[]).map_err(|error| error.to_string())?;
    }
    let title = std::env::args_os().next().unwrap_or_else(|| SUBCOMMAND.into());
    let second = Command::new("/proc/self/exe")
        .arg0(title)
        .args([SUBCOMMAND, SECOND])
        .args(standing)
        .arg(mark)
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("cannot start the second stage of init: {error}"))?;
    // This pid is valid in the supervisor's pid namespace, where the new one was created.
    let pid = i32::try_from(second.id()).map_err(|error| error.to_string())?;
    send(socket, &Report::Init { pid }, &[]).map_err(|error| error.to_string())
}
