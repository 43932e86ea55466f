//! The control socket on Unix, 0600.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::net::UnixListener;
pub(crate) use tokio::net::UnixStream as Stream;
pub(crate) use tokio::net::unix::{OwnedReadHalf as ReadHalf, OwnedWriteHalf as WriteHalf};

/// Whether somebody can remove a listening socket: it is a file.
pub(crate) const CAN_BE_REMOVED: bool = true;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    /// Device and inode of its file.
    file: (u64, u64),
}

/// Listens at `path`; what is there is a leftover.
pub(crate) fn listen(path: &Path) -> io::Result<Listener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Listener { socket, file: identity(path)? })
}

/// Whether a listener is the one that commands find at `path`.
pub(crate) fn is_at(listener: &Listener, path: &Path) -> bool {
    identity(path).is_ok_and(|file| file == listener.file)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The next connection.
pub(crate) async fn accept(listener: &Listener) -> io::Result<Stream> {
    Ok(listener.socket.accept().await?.0)
}

/// Connects to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<Stream> {
    Stream::connect(path).await
}

/// Two halves for two tasks.
pub(crate) fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    stream.into_split()
}
