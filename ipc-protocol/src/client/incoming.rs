//! The incoming half of a [`super::DataStream`]: the read-ahead buffer and what its frames say.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::error::{ErrorCode, describe};
use crate::session::data::{DataError, Received, Receiver};
use crate::transport::LocalStream;

/// Bytes read ahead, at most: what a Unix socket holds by default, so that one read empties it.
const READ_AHEAD: usize = 256 << 10;
/// Bytes read ahead at first; doubled while reads fill what is there, so that a quiet stream stays small.
const FIRST_READ: usize = 8 << 10;

/// How a stream ended, other than by its clean end. Inside the [`io::Error`] of reads and writes; see
/// [`StreamError::of`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The connection ended and the stream had not: what was read is not all of it.
    #[error("connection lost: the stream was cut before its end")]
    Lost,
    /// The other side gave up on what it was sending.
    #[error("stream reset: {}", describe(*code))]
    Reset {
        /// Its code, or one of [`crate::error::ErrorCode`].
        code: u32,
    },
    /// The other side reads no more of what is sent to it.
    #[error("stream stopped by its reader: {}", describe(*code))]
    Stopped {
        /// Its code, or one of [`crate::error::ErrorCode`].
        code: u32,
    },
    /// Netcore broke the rules of a data connection.
    #[error("malformed data connection")]
    Malformed(#[from] DataError),
    /// This side had ended the direction already.
    #[error("the stream was already ended on this side")]
    Ended,
}

impl StreamError {
    /// What a read or write of a [`super::DataStream`] failed with; `None` for failures of the socket itself.
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
    /// The part of `buffer` not handed out yet.
    start: usize,
    end: usize,
    /// Takes out of the buffer what is read.
    pub(super) receiver: Receiver,
    /// Looks at everything as it arrives, so that a STOP behind unread data is seen.
    scout: Receiver,
    scouted: usize,
    pub(super) reset: Option<u32>,
    pub(super) stopped: Option<u32>,
    /// Everything sent, and its end, has arrived.
    pub(super) complete: bool,
    /// The connection's end, or why nothing more can be read from it.
    pub(super) closed: Option<StreamError>,
    /// STOP was sent.
    pub(super) unwanted: bool,
}

impl Incoming {
    /// Starts with what was read after the answer to the opening.
    pub(super) fn new(rest: Vec<u8>) -> Self {
        let mut incoming = Self {
            start: 0,
            end: rest.len(),
            buffer: rest,
            receiver: Receiver::default(),
            scout: Receiver::default(),
            scouted: 0,
            reset: None,
            stopped: None,
            complete: false,
            closed: None,
            unwanted: false,
        };
        incoming.scout();
        incoming
    }

    /// Reads once into the buffer. Ready when something changed: bytes, or the connection's end.
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

    /// Whether [`Self::poll_fill`] may be called while bytes wait to be read.
    pub(super) fn has_room(&self) -> bool {
        self.closed.is_none() && (self.end < READ_AHEAD || self.start >= READ_AHEAD / 2)
    }

    fn scout(&mut self) {
        let mut view = &self.buffer[self.scouted..self.end];
        loop {
            match self.scout.next(&mut view, usize::MAX) {
                Ok(Some(Received::Stop(code))) if code == ErrorCode::Complete.number() => self.complete = true,
                Ok(Some(Received::Stop(code))) => self.stopped = Some(code),
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

    /// Hands out what is in the buffer. `Some(Ok(()))` when `out` got bytes or the stream is at its end; `None` when
    /// more must be read first.
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
                Ok(Some(Received::Fin | Received::Stop(_))) => {}
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
