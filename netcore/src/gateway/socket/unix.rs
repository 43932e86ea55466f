//! The listening sockets of plugins on Unix: descriptors from the supervisor. It keeps a copy of each, so that plugins
//! can connect while netcore restarts.

use std::io;

use nix::sys::socket::{getsockopt, sockopt};
use polypeer_ipc_protocol::transport::admin::Handover;
pub use tokio::net::UnixListener as Listener;
pub use tokio::net::unix::{OwnedReadHalf as ReadHalf, OwnedWriteHalf as WriteHalf};

/// Makes a listener of a descriptor. Dropping the listener leaves the socket file in place. Fails when the descriptor
/// is not a listening Unix socket.
pub fn adopt(descriptor: Handover) -> io::Result<Listener> {
    if !getsockopt(&descriptor, sockopt::AcceptConn)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a listening socket"));
    }
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    listener.set_nonblocking(true)?;
    Listener::from_std(listener)
}

/// Accepts the next connection.
pub async fn accept(listener: &Listener) -> io::Result<(ReadHalf, WriteHalf)> {
    Ok(listener.accept().await?.0.into_split())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_listening_socket_can_be_adopted() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(adopt(one.into()).is_err());
    }
}
