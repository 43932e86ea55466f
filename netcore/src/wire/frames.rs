//! Frames of a long-lived stream: each is a length in four bytes, little-endian, and a body.

use bytes::{Buf, Bytes, BytesMut};

use super::halves::{Broken, Halves};

/// Most bytes read from QUIC at once.
const CHUNK: usize = 16 << 10;

/// Received bytes that are not a complete frame yet.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer(BytesMut);

impl FrameBuffer {
    /// Reads the body of the next frame, at most `limit` bytes; `None` at the end of the stream. A longer frame, or an
    /// end inside a frame, is a breach of the protocol. Cancel safe.
    pub(crate) async fn next(&mut self, halves: &mut Halves, limit: usize) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(length) = self.0.first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > limit {
                    return Err(Broken::Rule(format!("frame of {length} bytes; the limit is {limit}")));
                }
                if self.0.len() >= 4 + length {
                    self.0.advance(4);
                    return Ok(Some(self.0.split_to(length).freeze()));
                }
            }
            match halves.recv.read_chunk(CHUNK, true).await? {
                Some(chunk) => self.0.extend_from_slice(&chunk.bytes),
                None => {
                    halves.received = true;
                    if self.0.is_empty() {
                        return Ok(None);
                    }
                    return Err(Broken::Rule("a stream ended inside a frame".to_owned()));
                }
            }
        }
    }
}
