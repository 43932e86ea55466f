//! Frames on byte streams. Buffers are bounded, and grow with what has arrived, never by an announced length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::CodecError;
use crate::frame::{self, FrameTooLarge, HEADER};
use crate::limits::MAX_FRAME;

/// A buffer's first size, bytes, and its size again after a large frame. Most frames are a few hundred bytes.
const SMALL: usize = 8 << 10;
/// Bytes a writer buffers before it refuses more: a flushed writer always has room for the largest frame.
const MAX_BUFFERED: usize = 2 * (MAX_FRAME + HEADER);

/// An error of reading or writing frames. The connection cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("connection failed")]
    Io(#[from] io::Error),
    #[error("connection ended inside a frame")]
    Cut,
    #[error(transparent)]
    TooLarge(#[from] FrameTooLarge),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("unexpected descriptors on the admin session")]
    Descriptors,
}

/// Reads frames from a byte stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    buffer: Vec<u8>,
    /// The part of `buffer` that has not been returned yet.
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(io: R) -> Self {
        Self { io, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// The next frame's body, at most 1 MiB; `None` if the connection ends between frames. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, TransportError> {
        let length = loop {
            if let Some(body) = frame::split(&self.buffer[self.start..self.end])? {
                break body.len();
            }
            self.make_room();
            match self.io.read(&mut self.buffer[self.end..]).await? {
                0 if self.start == self.end => return Ok(None),
                0 => return Err(TransportError::Cut),
                read => self.end += read,
            }
        };
        let body = self.start + HEADER..self.start + HEADER + length;
        self.start = body.end;
        Ok(Some(&self.buffer[body]))
    }

    /// Bytes that arrived after the last returned frame.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The byte stream, and the bytes that were read from it and not returned: where data frames follow control frames.
    pub fn into_parts(self) -> (R, Vec<u8>) {
        let rest = self.buffered().to_vec();
        (self.io, rest)
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == 0 && self.buffer.len() > SMALL {
            self.buffer = Vec::new();
        }
        if self.end == self.buffer.len() {
            let size = (2 * self.end).clamp(SMALL, MAX_FRAME + HEADER);
            self.buffer.resize(size, 0);
        }
    }
}

/// Writes frames to a byte stream, through a buffer of at most 2 MiB.
#[derive(Debug)]
pub struct FrameWriter<W> {
    io: W,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already written.
    sent: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub fn new(io: W) -> Self {
        Self { io, buffer: Vec::new(), sent: 0 }
    }

    /// Whether the largest frame still fits; if not, flush first.
    pub fn has_room(&self) -> bool {
        self.buffered() + MAX_FRAME + HEADER <= MAX_BUFFERED
    }

    /// Bytes waiting to be flushed.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Adds a message's frame to the buffer. Fails with [`CodecError::TooLarge`] if it is over the frame limit or does
    /// not fit in the buffer.
    pub fn push<T: serde::Serialize>(&mut self, message: &T) -> Result<(), CodecError> {
        let before = self.buffer.len();
        frame::write(message, &mut self.buffer)?;
        if self.buffered() > MAX_BUFFERED {
            self.buffer.truncate(before);
            return Err(CodecError::TooLarge);
        }
        Ok(())
    }

    /// The buffer, for the state machines of [`crate::session`], which append whole frames. The caller checks
    /// [`Self::has_room`] before.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer out. Cancel-safe.
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        while self.sent < self.buffer.len() {
            match self.io.write(&self.buffer[self.sent..]).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => self.sent += written,
            }
        }
        self.sent = 0;
        self.buffer.clear();
        self.buffer.shrink_to(SMALL);
        Ok(self.io.flush().await?)
    }

    /// Writes one message out, after what is buffered. If cancelled, the whole frame stays in the buffer.
    pub async fn send<T: serde::Serialize>(&mut self, message: &T) -> Result<(), TransportError> {
        if !self.has_room() {
            self.flush().await?;
        }
        self.push(message)?;
        self.flush().await
    }

    /// The byte stream. Bytes that were not flushed are lost.
    pub fn into_inner(self) -> W {
        self.io
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Payload;

    #[tokio::test]
    async fn frames_arrive_whole_through_a_pipe_of_seven_bytes() {
        let (near, far) = tokio::io::duplex(7);
        let messages = [Payload(vec![1; 3].into()), Payload(vec![2; 70_000].into()), Payload::default()];
        let sent = messages.clone();
        let sender = tokio::spawn(async move {
            let mut writer = FrameWriter::new(near);
            for message in &sent {
                writer.send(message).await.expect("written");
            }
        });
        let mut reader = FrameReader::new(far);
        for message in &messages {
            let body = reader.next().await.expect("read").expect("a frame");
            assert_eq!(&crate::codec::decode::<Payload>(body).expect("valid"), message);
        }
        sender.await.expect("sender is done");
        assert!(reader.next().await.expect("clean end").is_none());
        assert!(reader.buffer.len() <= 2 * 70_100, "the buffer follows what arrived");
    }

    #[tokio::test]
    async fn end_inside_a_frame_is_an_error() {
        for cut in [1, 4, 6] {
            let mut reader = FrameReader::new(&[3, 0, 0, 0, 1, 2, 3][..cut]);
            assert!(matches!(reader.next().await, Err(TransportError::Cut)), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn told_length_allocates_nothing() {
        let mut reader = FrameReader::new(&[0, 0, 0x10, 0, 7][..]);
        assert!(matches!(reader.next().await, Err(TransportError::Cut)));
        assert!(reader.buffer.len() <= SMALL);
        let mut reader = FrameReader::new(&[1, 0, 0x10, 0, 7][..]);
        assert!(matches!(reader.next().await, Err(TransportError::TooLarge(_))));
    }

    #[tokio::test]
    async fn writer_refuses_to_buffer_without_bound() {
        let mut writer = FrameWriter::new(tokio::io::sink());
        let large = Payload(vec![0; MAX_FRAME - 8].into());
        writer.push(&large).expect("the first fits");
        writer.push(&large).expect("the second fits");
        assert!(!writer.has_room());
        assert!(matches!(writer.push(&large), Err(CodecError::TooLarge)));
        writer.flush().await.expect("written");
        assert!(writer.has_room());
    }
}
