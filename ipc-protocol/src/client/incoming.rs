//! The incoming direction of a [`super::DataStream`]: its read-ahead buffer and the state its frames lead to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::error::{ErrorCode, describe};
use crate::session::data::{DataError, Received, Receiver};
use crate::transport::LocalStream;

/// Largest read-ahead buffer, bytes: what a Unix socket holds by default, so that one read empties it.
const READ_AHEAD: usize = 256 << 10;
/// First read-ahead buffer, bytes. It doubles while reads fill it, so that a quiet stream stays small.
const FIRST_READ: usize = 8 << 10;

/// An end of a stream other than the clean one. It is the source of the [`io::Error`] of reads and writes; see
/// [`StreamError::of`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The connection ended before the stream did: what was read is incomplete.
    #[error("connection lost: the stream was cut before its end")]
    Lost,
    /// The other side aborted what it was sending.
    #[error("stream reset: {}", describe(*code))]
    Reset {
        /// An application's code, or one of [`crate::error::ErrorCode`].
        code: u32,
    },
    /// The other side reads no more.
    #[error("stream stopped by its reader: {}", describe(*code))]
    Stopped {
        /// An application's code, or one of [`crate::error::ErrorCode`].
        code: u32,
    },
    #[error("malformed data connection")]
    Malformed(#[from] DataError),
    #[error("the stream was already ended on this side")]
    Ended,
}

impl StreamError {
    /// The stream's error inside that of a read or write; `None` if the socket itself failed.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|source| source.downcast_ref())
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Lost => io::ErrorKind::ConnectionAborted,
            StreamError::Reset { .. } => io::ErrorKind::ConnectionReset,
            StreamError::Stopped { .. } | StreamError::Ended => io::ErrorKind::BrokenPipe,
            StreamError::Malformed(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[derive(Debug)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// The part of `buffer` that has not been read yet.
    start: usize,
    end: usize,
    /// Decodes what is read.
    pub(super) receiver: Receiver,
    /// Decodes everything as it arrives, so that a STOP behind unread data is seen.
    scout: Receiver,
    scouted: usize,
    pub(super) reset: Option<u32>,
    pub(super) stopped: Option<u32>,
    /// The other node has acknowledged all bytes sent and their end.
    pub(super) complete: bool,
    /// The reason why nothing more can be read from the connection.
    pub(super) closed: Option<StreamError>,
    pub(super) unwanted: bool,
    /// Netcore waits for the next opening on the connection.
    pub(super) kept: bool,
}

impl Incoming {
    /// Starts with the bytes that were read after the answer to the opening. `receiver` is a new one.
    pub(super) fn new(rest: Vec<u8>, receiver: Receiver) -> Self {
        let mut incoming = Self {
            start: 0,
            end: rest.len(),
            buffer: rest,
            scout: receiver.clone(),
            receiver,
            scouted: 0,
            kept: false,
            reset: None,
            stopped: None,
            complete: false,
            closed: None,
            unwanted: false,
        };
        incoming.scout();
        incoming
    }

    /// Reads once into the buffer. Ready after bytes or the connection's end.
    pub(super) fn poll_fill(&mut self, io: &mut LocalStream, cx: &mut Context<'_>) -> Poll<()> {
        if self.closed.is_some() {
            return Poll::Ready(());
        }
        if self.start > 0 && (self.start == self.end || self.start >= READ_AHEAD / 2) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scouted -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((2 * self.end).clamp(FIRST_READ, READ_AHEAD), 0);
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        match ready!(Pin::new(io).poll_read(cx, &mut room)) {
            Ok(()) if room.filled().is_empty() => self.closed = Some(StreamError::Lost),
            Ok(()) => {
                let (read, filled) = (room.filled().len(), room.remaining() == 0);
                self.end += read;
                self.scout();
                if filled && self.buffer.len() < READ_AHEAD {
                    self.buffer.resize((2 * self.buffer.len()).min(READ_AHEAD), 0);
                }
            }
            Err(_) => self.closed = Some(StreamError::Lost),
        }
        Poll::Ready(())
    }

    /// Whether [`Self::poll_fill`] may be called while there are unread bytes.
    pub(super) fn has_room(&self) -> bool {
        self.closed.is_none() && (self.end < READ_AHEAD || self.start >= READ_AHEAD / 2)
    }

    fn scout(&mut self) {
        let mut view = &self.buffer[self.scouted..self.end];
        loop {
            match self.scout.next(&mut view, usize::MAX) {
                Ok(Some(Received::Stop(code))) if code == ErrorCode::Complete.number() => self.complete = true,
                Ok(Some(Received::Stop(code))) => self.stopped = Some(code),
                Ok(Some(Received::Kept)) => self.kept = true,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    self.closed = Some(error.into());
                    break;
                }
            }
        }
        self.scouted = self.end - view.len();
    }

    /// Moves bytes of the stream from the buffer to `out`. `Some(Ok(()))` if there were any, or the stream is at its
    /// end; `None` if more must be read from the connection first.
    pub(super) fn take(&mut self, out: &mut ReadBuf<'_>) -> Option<Result<(), StreamError>> {
        let before = out.filled().len();
        let mut view = &self.buffer[self.start..self.end];
        let problem = loop {
            if out.remaining() == 0 || self.receiver.is_ended() {
                break None;
            }
            match self.receiver.next(&mut view, out.remaining()) {
                Ok(Some(Received::Data(bytes))) => out.put_slice(bytes),
                Ok(Some(Received::Reset(code))) => self.reset = Some(code),
                Ok(Some(Received::Fin | Received::Stop(_) | Received::Kept)) => {}
                Ok(None) => break self.closed.clone(),
                Err(error) => break Some(error.into()),
            }
        };
        self.start = self.end - view.len();
        if out.filled().len() > before {
            return Some(Ok(()));
        }
        match (self.reset, problem) {
            (Some(code), _) => Some(Err(StreamError::Reset { code })),
            (None, Some(problem)) => Some(Err(problem)),
            (None, None) if self.receiver.is_ended() || out.remaining() == 0 => Some(Ok(())),
            (None, None) => None,
        }
    }
}
