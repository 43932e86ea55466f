//! The plugins' sockets on Unix: descriptors handed over by the supervisor, which keeps its own copy, so that the path
//! goes on accepting connects while netcore is restarted. A port to another platform has this file's functions.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{getsockopt, sockopt};
pub use tokio::net::unix::{OwnedReadHalf as ReadHalf, OwnedWriteHalf as WriteHalf};
pub use tokio::net::{UnixListener as Listener, UnixStream as Stream};

/// Listens on a descriptor. The socket file is left alone when the listener is dropped. Fails when the descriptor is
/// not a listening Unix socket.
pub fn adopt(descriptor: OwnedFd) -> io::Result<Listener> {
    if !getsockopt(&descriptor, sockopt::AcceptConn)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a listening socket"));
    }
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    listener.set_nonblocking(true)?;
    Listener::from_std(listener)
}
