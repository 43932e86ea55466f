//! The socket on Unix: frames with a descriptor beside the first byte, as the admin session has them.

use std::fs::File;
use std::io;
use std::path::Path;

use polypeer_ipc_protocol::transport::admin::{AdminChannel, Handover};
use tokio::net::UnixStream;

/// Gives a file; whether it was used.
pub(super) async fn give(socket: &Path, token: &str, file: File) -> io::Result<bool> {
    Ok(visit(socket, token, Some(file.into())).await?.0)
}

/// Takes a file.
pub(super) async fn take(socket: &Path, token: &str) -> io::Result<File> {
    let (_, lent) = visit(socket, token, None).await?;
    lent.into_iter().next().map(File::from).ok_or_else(|| io::ErrorKind::NotFound.into())
}

async fn visit(socket: &Path, token: &str, given: Option<Handover>) -> io::Result<(bool, Vec<Handover>)> {
    let stream = UnixStream::connect(socket).await?.into_std()?;
    let mut channel = AdminChannel::from_end(stream.into())?;
    channel.send(&token, given.as_ref()).await.map_err(io::Error::other)?;
    channel.recv().await.map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
