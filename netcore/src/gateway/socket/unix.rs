//! Plugins' sockets on Unix: descriptors handed over by the supervisor, which keeps its own copy, so that the path goes
//! on accepting connects while netcore is restarted.

use std::io;

use nix::sys::socket::{getsockopt, sockopt};
use polypeer_ipc_protocol::transport::admin::Handover;
pub use tokio::net::UnixListener as Listener;
pub use tokio::net::unix::{OwnedReadHalf as ReadHalf, OwnedWriteHalf as WriteHalf};

/// Listens on a descriptor. The socket file is left alone when the listener is dropped. Fails when the descriptor is
/// not a listening Unix socket.
pub fn adopt(descriptor: Handover) -> io::Result<Listener> {
    if !getsockopt(&descriptor, sockopt::AcceptConn)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a listening socket"));
    }
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    listener.set_nonblocking(true)?;
    Listener::from_std(listener)
}

/// The next connection.
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
