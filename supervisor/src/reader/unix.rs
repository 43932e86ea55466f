//! The reader of stdout on Unix: a pipe or a socket without one reports an error by itself (poll(2)).

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Until stdout is a pipe that nobody reads any more; for ever if it is a file or a terminal that stays.
pub(crate) async fn gone() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: it waits as long as the process lives.
    let watching = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while let Err(Errno::EINTR) = poll(&mut watched, PollTimeout::NONE) {}
        let _ = sender.send(()); // The command may have ended.
    });
    match (watching, receiver.await) {
        (Ok(_), Ok(())) => {}
        _ => std::future::pending().await,
    }
}
