//! Local sockets by path, with the crate `interprocess`: non-blocking, never inherited by child processes. A path is
//! that of a Unix socket, or a pipe's name on Windows, `\\.\pipe\…`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use unix::for_owner;
#[cfg(windows)]
use windows::for_owner;

pub use interprocess::local_socket::tokio::{Listener as LocalListener, Stream as LocalStream};

/// Connects to the socket at `path`. Errors name the path: it does not exist, is not listened on, is not permitted, or
/// is over the platform's limit (about 100 bytes).
pub async fn connect(path: &Path) -> io::Result<LocalStream> {
    let named = |error: io::Error| about(path, "connect to", &error);
    let name = path.to_fs_name::<GenericFilePath>().map_err(named)?;
    LocalStream::connect(name).await.map_err(named)
}

/// Listens at `path`, which must not exist. Dropping the listener removes the socket file. A pipe accepts only its
/// owner; access to a Unix socket is that of its folder.
pub fn listen(path: &Path) -> io::Result<LocalListener> {
    let named = |error: io::Error| about(path, "listen on", &error);
    let name = path.to_fs_name::<GenericFilePath>().map_err(named)?;
    for_owner(ListenerOptions::new().name(name)).and_then(ListenerOptions::create_tokio).map_err(named)
}

fn about(path: &Path, action: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display()))
}

/// The read half of a [`LocalStream`].
#[derive(Debug)]
pub struct ReadHalf(Arc<LocalStream>);

/// The write half of a [`LocalStream`]. Dropping it alone sends nothing to the other side.
#[derive(Debug)]
pub struct WriteHalf(Arc<LocalStream>);

/// Splits a stream for a task that reads and one that writes, without a lock. Dropping both halves closes the
/// connection.
pub fn split(stream: LocalStream) -> (ReadHalf, WriteHalf) {
    let stream = Arc::new(stream);
    (ReadHalf(stream.clone()), WriteHalf(stream))
}

impl ReadHalf {
    /// The connection.
    pub fn stream(&self) -> &LocalStream {
        &self.0
    }
}

impl WriteHalf {
    /// The connection.
    pub fn stream(&self) -> &LocalStream {
        &self.0
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_shutdown(cx)
    }
}
