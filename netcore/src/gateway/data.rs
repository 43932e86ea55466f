//! A data connection after its opening. Frames are parsed without copying their payload, and written with one system
//! call for a header and many pieces. Every async function is safe to cancel: drop its future and call it again.

mod writer;

use std::future::poll_fn;
use std::io;
use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use polypeer_ipc_protocol::error::from_plugin;
use polypeer_ipc_protocol::session::data::{DataError, Received, Receiver};
use tokio::io::AsyncReadExt;

use super::socket::ReadHalf;
pub(crate) use writer::DataWriter;

/// Least and most bytes requested per read. The size doubles while reads fill the buffer, and shrinks when they do not.
const READ: std::ops::RangeInclusive<usize> = (16 << 10)..=(256 << 10);
/// Most bytes read before the opening is answered.
const AHEAD: usize = 64 << 10;

/// One thing that a plugin sent, or the end of its connection.
#[derive(Debug)]
pub(crate) enum Input {
    /// Bytes of the stream.
    Data(Bytes),
    /// The plugin has written everything.
    Fin,
    /// The plugin resets its direction. The code is one that the other side may see.
    Reset(u32),
    /// The plugin stops the other direction: it reads no more. The code is one that the other side may see.
    Stop(u32),
    /// The plugin closed the connection.
    Closed,
    /// A malformed frame. Nothing more can be read from the connection.
    Malformed(DataError),
}

/// The half that reads from the plugin.
#[derive(Debug)]
pub(crate) struct DataReader {
    half: ReadHalf,
    buffer: BytesMut,
    receiver: Receiver,
    size: usize,
    /// Returned by `next` first.
    back: Option<Input>,
}

impl DataReader {
    /// A reader of `half`; `buffer` holds the bytes that were read from it already.
    pub(crate) fn new(half: ReadHalf, buffer: BytesMut) -> Self {
        Self { half, buffer, receiver: Receiver::default(), size: *READ.start(), back: None }
    }

    /// Waits for the next input of the plugin. Must not be called again after `Closed` or `Malformed`.
    pub(crate) async fn next(&mut self) -> Input {
        if let Some(input) = self.back.take() {
            return input;
        }
        loop {
            match self.take() {
                Ok(Some(input)) => return input,
                Ok(None) => {}
                Err(error) => return Input::Malformed(error),
            }
            match self.read().await {
                Ok(0) | Err(_) => return Input::Closed,
                Ok(_) => {}
            }
        }
    }

    /// Returns an input, for `next` to return it again.
    pub(crate) fn put_back(&mut self, input: Input) {
        self.back = Some(input);
    }

    fn take(&mut self) -> Result<Option<Input>, DataError> {
        let mut left = &self.buffer[..];
        let Some(received) = self.receiver.next(&mut left, usize::MAX)? else {
            let used = self.buffer.len() - left.len();
            self.buffer.advance(used);
            return Ok(None);
        };
        let used = self.buffer.len() - left.len();
        Ok(Some(match received {
            Received::Data(bytes) => {
                let length = bytes.len();
                self.buffer.advance(used - length);
                Input::Data(self.buffer.split_to(length).freeze())
            }
            Received::Fin => self.skipped(used, Input::Fin),
            Received::Reset(code) => self.skipped(used, Input::Reset(from_plugin(code))),
            Received::Stop(code) => self.skipped(used, Input::Stop(from_plugin(code))),
            Received::Kept => unreachable!("only a plugin's receiver knows it"),
        }))
    }

    fn skipped(&mut self, used: usize, input: Input) -> Input {
        self.buffer.advance(used);
        input
    }

    /// The half, and the bytes that were read from it and not returned.
    pub(super) fn into_parts(self) -> (ReadHalf, BytesMut) {
        (self.half, self.buffer)
    }

    async fn read(&mut self) -> io::Result<usize> {
        let read = poll_fn(|cx| {
            self.buffer.reserve(self.size);
            let polled = pin!(self.half.read_buf(&mut self.buffer)).poll(cx);
            if polled.is_pending() && self.buffer.is_empty() {
                self.buffer = BytesMut::new(); // an idle stream holds no memory
            }
            polled
        });
        let read = read.await?;
        self.size = if read >= self.size { self.size * 2 } else { self.size.min(read * 2) };
        self.size = self.size.clamp(*READ.start(), *READ.end());
        Ok(read)
    }

    /// Waits until the plugin closes the connection, as it may do before its opening is answered. Bytes that it sends
    /// meanwhile are kept, up to [`AHEAD`]; then the future never resolves.
    pub(crate) async fn closed(&mut self) {
        loop {
            if self.buffer.len() >= AHEAD {
                return std::future::pending().await;
            }
            if matches!(self.read().await, Ok(0) | Err(_)) {
                return;
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
