//! `polypeer internal-init`: the small process between the supervisor and a child. Single-threaded, so it may do between
//! its steps what a threaded process may not do after a fork.
//!
//! The first stage leaves the namespaces it is told to, starts the second and exits; a pid namespace begins with the
//! next process, so one must. The second stage, PID 1 where there is a pid namespace, sets everything up, starts the
//! child, reaps what is orphaned, and takes everything down when the child or the supervisor ends. Descriptor 0 of
//! both is their end of the socket pair to [`super::spawn`].

mod mounts;
mod namespaces;
mod privileges;
mod second;
mod tree;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, ExitCode, Stdio};

use super::channel::{receive, send};
use super::launch::Isolation;
use super::message::Report;

/// The word after `polypeer` that leads here.
pub const SUBCOMMAND: &str = "internal-init";
/// The argument that makes it the second stage; the namespaces that stand follow, then the mark. The first stage has
/// the mark alone.
const SECOND: &str = "second";

/// Runs the stage that `arguments`, those after [`SUBCOMMAND`], say. Must be called before any thread is started.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    close_inherited();
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
            // Nobody to tell is nobody to tell: then the supervisor is gone.
            let _ = send(socket, &Report::Failed { reason }, &[]);
            ExitCode::FAILURE
        }
    }
}

/// Closes all descriptors but 0 to 2, whatever the supervisor was started with.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that listed the folder is closed already, which is no matter.
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
    let second = Command::new("/proc/self/exe")
        .args([super::init::SUBCOMMAND, SECOND])
        .args(standing)
        .arg(mark)
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("cannot start the second stage of init: {error}"))?;
    // A pid namespace is seen from where it was made: this is the pid the supervisor knows it by.
    let pid = i32::try_from(second.id()).map_err(|error| error.to_string())?;
    send(socket, &Report::Init { pid }, &[]).map_err(|error| error.to_string())
}
