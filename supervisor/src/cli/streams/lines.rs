//! Framing of the bundled apps' control protocols: one JSON document per line, then raw bytes where a protocol has
//! some.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest line, bytes: a chat message of 64 KiB with every character escaped fits.
pub(crate) const MAX_LINE: u64 = 512 << 10;

/// Reads one line. `None` at the end of the stream.
///
/// # Errors
/// When the stream was cut or reset, a line is too long, or is not the document expected.
pub(crate) async fn read<T: DeserializeOwned>(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    (&mut *reader).take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the app sent a line without an end"));
    }
    let told = |error| io::Error::new(io::ErrorKind::InvalidData, format!("the app sent a malformed line: {error}"));
    serde_json::from_slice(&line).map(Some).map_err(told)
}

/// Writes one line and flushes it.
///
/// # Errors
/// When the stream was cut or stopped.
pub(crate) async fn write(writer: &mut (impl AsyncWrite + Unpin), document: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_one_by_one_and_bytes_after_them_stay() {
        let mut input = tokio::io::BufReader::new(&b"{\"a\":1}\n{\"a\":2}\nraw"[..]);
        for number in 1..=2 {
            let value: serde_json::Value = read(&mut input).await.expect("a line").expect("not the end");
            assert_eq!(value["a"], number);
        }
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).await.expect("the rest");
        assert_eq!(rest, b"raw");
        assert_eq!(read::<serde_json::Value>(&mut &b""[..]).await.expect("the end"), None);
        assert!(read::<serde_json::Value>(&mut &b"{\"a\":1}"[..]).await.is_err(), "cut in the middle of a line");
        assert!(read::<serde_json::Value>(&mut &b"none\n"[..]).await.is_err());
        let long = vec![b'x'; MAX_LINE as usize + 1];
        assert!(read::<serde_json::Value>(&mut &long[..]).await.is_err());
    }
}
