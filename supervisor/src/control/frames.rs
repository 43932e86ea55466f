//! Frames of the control socket: `u32` little-endian length, then a JSON document of at most [`MAX_DOCUMENT`] bytes.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest document, bytes; a full list of peers fits.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// Reads one document. `None` at the clean end of the connection.
///
/// # Errors
/// When the connection is cut, ends inside a frame, or the document is too large or malformed.
pub async fn read<T: DeserializeOwned>(reader: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let length = u32::from_le_bytes(header) as usize;
    if length > most.min(MAX_DOCUMENT) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("document of {length} bytes")));
    }
    // Grows with the bytes received, not with the length announced.
    let mut body = Vec::new();
    reader.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes one document.
///
/// # Errors
/// When the connection is cut or the document is too large.
pub async fn write<T: Serialize>(writer: &mut (impl AsyncWrite + Unpin), document: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, document)?;
    let length = frame.len() - 4;
    if length > MAX_DOCUMENT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("document of {length} bytes")));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).expect("checked").to_le_bytes());
    writer.write_all(&frame).await?;
    writer.flush().await
}
