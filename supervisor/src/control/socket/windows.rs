//! The control pipe on Windows, for its owner alone.

use std::io;
use std::path::Path;

use interprocess::local_socket::traits::tokio::Listener as _;

pub(crate) use polypeer_ipc_protocol::transport::{
    LocalListener as Listener, LocalStream as Stream, ReadHalf, WriteHalf, connect, listen, split,
};

/// Whether somebody can remove a listening pipe: it is no file.
pub(crate) const CAN_BE_REMOVED: bool = false;

/// Whether a listener is the one that commands find at `path`.
pub(crate) fn is_at(_listener: &Listener, _path: &Path) -> bool {
    true
}

/// The next connection.
pub(crate) async fn accept(listener: &Listener) -> io::Result<Stream> {
    listener.accept().await
}
