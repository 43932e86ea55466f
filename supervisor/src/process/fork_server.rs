//! The supervisor's handle to the fork server, the process that inits are forked from. It is this same binary, run once
//! for all children instead of twice for each, so that a start costs a fork and what inits have in common is in memory
//! once. It ends with its socket, and one that has ended is replaced at the next start of a child.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::channel;
use super::init::{COMMAND_LINE, SUBCOMMAND, TITLE};
use super::launch::Birth;

/// Time for the fork server to take a request when its queue is full, seconds. One takes it a millisecond.
const QUEUE_TIME: i64 = 2;

#[derive(Debug)]
pub(crate) struct ForkServer {
    /// The `polypeer` binary.
    polypeer: PathBuf,
    /// A path in its command line, as in [`Birth::mark`].
    mark: PathBuf,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    process: Child,
    socket: OwnedFd,
}

impl ForkServer {
    /// Starts nothing yet.
    pub(crate) fn new(polypeer: PathBuf, mark: PathBuf) -> Self {
        Self { polypeer, mark, running: Mutex::default() }
    }

    /// Has an init forked whose descriptors 0, 1 and 2 are `descriptors`. If that fails in the fork server, the init's
    /// end of its socket pair is closed, with or without a report.
    ///
    /// # Errors
    /// When the binary cannot be run, or the fork server takes no requests. Blocks for up to [`QUEUE_TIME`] while many
    /// wait before it.
    pub(crate) fn fork(&self, birth: &Birth, descriptors: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*running {
            match channel::send(server.socket.as_fd(), birth, &descriptors) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!("the fork server takes no requests: {error}; starting another"),
            }
        }
        if let Some(old) = running.take() {
            old.end();
        }
        let server = self.start()?;
        let sent = channel::send(server.socket.as_fd(), birth, &descriptors);
        *running = Some(server);
        sent
    }

    /// Ends it; inits live on. The next start of a child has another one started.
    pub(crate) fn stop(&self) {
        if let Some(server) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            server.end();
        }
    }

    fn start(&self) -> io::Result<Running> {
        let (ours, theirs) = channel::pair()?;
        setsockopt(&ours, sockopt::SendTimeout, &TimeVal::seconds(QUEUE_TIME))?;
        // A process group of its own, so Ctrl-C in the terminal does not reach it. The argument of spaces only makes
        // room for the command lines of inits.
        let process = Command::new(&self.polypeer)
            .arg0(TITLE)
            .arg(SUBCOMMAND)
            .arg(" ".repeat(COMMAND_LINE))
            .arg(&self.mark)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot run {}: {error}", self.polypeer.display()))
            })?;
        Ok(Running { process, socket: ours })
    }
}

impl Running {
    fn end(mut self) {
        drop(self.socket);
        // It owes nothing, and may be stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn birth() -> Birth {
        Birth { title: "test".to_owned(), mark: PathBuf::from("/none") }
    }

    #[test]
    fn server_that_ended_is_replaced() {
        let server = ForkServer::new(PathBuf::from("/bin/true"), PathBuf::from("/none"));
        let (end, _) = UnixStream::pair().expect("a pair");
        let descriptors = [end.as_fd(); 3];
        // It may end before it is sent anything.
        let _ = server.fork(&birth(), descriptors);
        let first = server.running.lock().expect("whole").as_mut().map(|running| running.process.wait().map(drop));
        first.expect("started").expect("it ends by itself");
        let _ = server.fork(&birth(), descriptors);
        assert!(server.running.lock().expect("whole").is_some(), "another was started");
        server.stop();
        assert!(server.running.lock().expect("whole").is_none());
    }

    #[test]
    fn binary_that_cannot_be_run_is_named() {
        let server = ForkServer::new(PathBuf::from("/no/polypeer"), PathBuf::from("/none"));
        let (end, _) = UnixStream::pair().expect("a pair");
        let error = server.fork(&birth(), [end.as_fd(); 3]).expect_err("it is not there");
        assert!(error.to_string().starts_with("cannot run /no/polypeer: "), "{error}");
    }
}
