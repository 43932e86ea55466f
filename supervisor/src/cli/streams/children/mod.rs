//! The processes of `polypeer serve`: one for each stream, with what it starts itself. They end with their stream, and
//! with the command.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(super) use system::interrupted;

/// Time for a process to end by itself once its stream is over; then it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A process of a stream, and its process group. Dropping it kills both.
#[derive(Debug)]
pub(super) struct Served {
    process: Child,
    group: system::Group,
}

impl Served {
    /// Starts `command` with `environment` on top of this process's own. Its stdin and stdout are pipes.
    pub(super) fn start(
        command: &[String],
        environment: &[(&str, &str)],
    ) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        system::prepare(&mut command);
        let mut process = command.spawn()?;
        let group = system::Group::of(&process);
        match (process.stdin.take(), process.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((Self { process, group }, stdin, stdout)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits until the process has ended by itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Ends the process and what it started.
    pub(super) async fn end(mut self) {
        self.group.terminate();
        let _ = timeout(GRACE, self.process.wait()).await; // What is left is killed when this is dropped.
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.group.kill();
    }
}

/// Whether a process can be started with this name: a path, or a program in one of the folders of `PATH`.
pub(super) fn exists(program: &str) -> bool {
    let path = PathBuf::from(program);
    if path.components().count() > 1 {
        return system::is_program(&path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| system::is_program(&folder.join(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn programs_are_found_by_path_and_by_name() {
        assert!(exists("sh") && exists("/bin/sh"));
        assert!(!exists("no such program") && !exists("/bin/no/such") && !exists("/etc/passwd") && !exists("/bin/"));
    }
}
