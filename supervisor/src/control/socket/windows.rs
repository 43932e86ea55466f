//! The control pipe on Windows, for its owner alone.

use std::io;

use interprocess::local_socket::traits::tokio::Listener as _;

pub(crate) use polypeer_ipc_protocol::transport::{
    LocalListener as Listener, LocalStream as Stream, ReadHalf, WriteHalf, connect, listen, split,
};

/// The next connection.
pub(crate) async fn accept(listener: &Listener) -> io::Result<Stream> {
    listener.accept().await
}
