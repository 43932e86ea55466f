//! A data connection after its opening: frames taken apart without copying what they carry, and put together again
//! with one system call for a header and many pieces. Every waiting function may be dropped and called again.

mod writer;

use std::future::poll_fn;
use std::io;
use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use polypeer_ipc_protocol::error::{ErrorCode, FIRST_CODE};
use polypeer_ipc_protocol::session::data::{DataError, Received, Receiver};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;

use super::socket::ReadHalf;
pub(crate) use writer::DataWriter;

/// Least and most bytes asked of the kernel at once; doubled while reads fill what was asked.
const READ: std::ops::RangeInclusive<usize> = (16 << 10)..=(256 << 10);
/// Bytes read ahead of the opening's answer.
const AHEAD: usize = 64 << 10;

/// What a plugin sent.
#[derive(Debug)]
pub(crate) enum Input {
    /// Bytes of the stream.
    Data(Bytes),
    /// It has written everything.
    Fin,
    /// It gives up writing; the code is one the other side may see.
    Reset(u32),
    /// It reads no more; the code is one the other side may see.
    Stop(u32),
    /// It is gone.
    Closed,
    /// It broke the rules: it is of no more use.
    Malformed(DataError),
}

/// A plugin's code as the other side sees it: Polypeer's own are not its to send.
fn from_plugin(code: u32) -> u32 {
    if code < FIRST_CODE { code } else { ErrorCode::Refused.number() }
}

/// Both halves of a data connection, and its place among its launch's.
#[derive(Debug)]
pub(crate) struct DataConnection {
    /// From the plugin.
    pub(crate) reader: DataReader,
    /// To the plugin.
    pub(crate) writer: DataWriter,
    /// Given back when the connection is closed.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The incoming half.
#[derive(Debug)]
pub(crate) struct DataReader {
    half: ReadHalf,
    buffer: BytesMut,
    receiver: Receiver,
    size: usize,
}

impl DataReader {
    /// A reader of `half`, with what has been read of it already.
    pub(crate) fn new(half: ReadHalf, buffer: BytesMut) -> Self {
        Self { half, buffer, receiver: Receiver::default(), size: *READ.start() }
    }

    /// The next thing the plugin sent. After `Closed` and `Malformed`, not to be called again.
    pub(crate) async fn next(&mut self) -> Input {
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
        }))
    }

    fn skipped(&mut self, used: usize, input: Input) -> Input {
        self.buffer.advance(used);
        input
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

    /// Waits until the plugin closes the connection, which it may do instead of waiting for its opening's answer. What
    /// it sends meanwhile is kept.
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
