//! Nothing on Windows, whose sockets pass no handles: contents are streamed.

use std::fs::File;
use std::io;
use std::path::Path;

pub(super) async fn give(_socket: &Path, _token: &str, _file: File) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) async fn take(_socket: &Path, _token: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
