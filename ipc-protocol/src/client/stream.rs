//! A stream to another plugin, as bytes: [`DataStream`] hides the frames of its data connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::error::describe;
use crate::frame::DataHeader;
use crate::gateway::Origin;
use crate::ids::Protocol;
use crate::limits::MAX_DATA;
use crate::session::data::{DataError, Received, Receiver, Sender};
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
    /// What a read or write of a [`DataStream`] failed with; `None` for failures of the socket itself.
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

/// A reliable ordered byte pipe to a plugin of a peer or of this node; either half closes on its own.
///
/// Reading ends (`Ok(0)`) only at the end the other side declared; a cut or reset stream is an error that holds a
/// [`StreamError`]. Written bytes may wait in a buffer of one frame until the next write, read or flush: flush, or
/// [`Self::finish`], before waiting for something else. `shutdown` is [`Self::finish`]. Dropping the stream before that
/// cuts it, which the other side sees as `connection lost`. Works with [`tokio::io::split`].
#[derive(Debug)]
pub struct DataStream {
    io: LocalStream,
    origin: Origin,
    protocol: Protocol,
    incoming: Incoming,
    output: Vec<u8>,
    /// Bytes of `output` already written.
    sent: usize,
    sender: Sender,
    /// RESET was sent.
    abandoned: bool,
    wakers: Arc<Wakers>,
    /// Wakes whoever reads and whoever writes: either may be waiting for what the other one polled for. What is waited
    /// for becomes usable only with the wake, so that nobody can take it from under the other.
    waker: Waker,
}

#[derive(Debug)]
struct Incoming {
    buffer: Vec<u8>,
    /// The part of `buffer` not handed out yet.
    start: usize,
    end: usize,
    /// Takes out of the buffer what is read.
    receiver: Receiver,
    /// Looks at everything as it arrives, so that a STOP behind unread data is seen.
    scout: Receiver,
    scouted: usize,
    reset: Option<u32>,
    stopped: Option<u32>,
    /// The connection's end, or why nothing more can be read from it.
    closed: Option<StreamError>,
    /// STOP was sent.
    unwanted: bool,
}

#[derive(Debug, Default)]
struct Wakers {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Wakers {
    fn register(slot: &Mutex<Option<Waker>>, cx: &Context<'_>) {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *slot = Some(cx.waker().clone()),
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for slot in [&self.reader, &self.writer] {
            let waker = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Incoming {
    /// Reads once into the buffer. Ready when something changed: bytes, or the connection's end.
    fn poll_fill(&mut self, io: &mut LocalStream, cx: &mut Context<'_>) -> Poll<()> {
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

    fn has_room(&self) -> bool {
        self.closed.is_none() && (self.end < READ_AHEAD || self.start >= READ_AHEAD / 2)
    }

    fn scout(&mut self) {
        let mut view = &self.buffer[self.scouted..self.end];
        loop {
            match self.scout.next(&mut view, usize::MAX) {
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
    fn take(&mut self, out: &mut ReadBuf<'_>) -> Option<Result<(), StreamError>> {
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

impl DataStream {
    /// A stream on a connection that has just been answered with `Opened`; `rest` was read after that.
    pub(super) fn new(io: LocalStream, rest: Vec<u8>, origin: Origin, protocol: Protocol) -> Self {
        let wakers = Arc::new(Wakers::default());
        let waker = Waker::from(wakers.clone());
        let mut incoming = Incoming {
            start: 0,
            end: rest.len(),
            buffer: rest,
            receiver: Receiver::default(),
            scout: Receiver::default(),
            scouted: 0,
            reset: None,
            stopped: None,
            closed: None,
            unwanted: false,
        };
        incoming.scout();
        let (output, sender) = (Vec::new(), Sender::default());
        Self { io, origin, protocol, incoming, output, sent: 0, sender, abandoned: false, wakers, waker }
    }

    /// Who is at the other end.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What is spoken.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Says that everything has been written, and sends it. The other side then reads a clean end. Reading goes on.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }

    /// Gives up on what is being sent: the other side's reads fail with `code`, which is below
    /// [`crate::error::FIRST_CODE`]. Without effect after [`Self::finish`].
    pub async fn reset(&mut self, code: u32) -> io::Result<()> {
        if let Some(header) = self.sender.header(DataHeader::Reset(code)) {
            self.output.extend_from_slice(&header);
            self.abandoned = true;
        }
        self.sent_out().await
    }

    /// Reads no more: the other side's writes fail with `code`, which is below [`crate::error::FIRST_CODE`]. Without
    /// effect the second time.
    pub async fn stop(&mut self, code: u32) -> io::Result<()> {
        if let Some(header) = self.sender.header(DataHeader::Stop(code)) {
            self.output.extend_from_slice(&header);
            self.incoming.unwanted = true;
        }
        self.sent_out().await
    }

    async fn sent_out(&mut self) -> io::Result<()> {
        let sent = std::future::poll_fn(|cx| {
            Wakers::register(&self.wakers.writer, cx);
            self.poll_output()
        });
        Ok(sent.await?)
    }

    /// Finishes, and waits until both directions have ended and the other side's node has acknowledged everything. What
    /// still arrives is thrown away. Fails when the stream ended in any other way.
    pub async fn closed(&mut self) -> Result<(), StreamError> {
        if self.abandoned {
            return Err(StreamError::Ended);
        }
        if !self.sender.is_ended() && self.finish().await.is_err() {
            return Err(self.why_not_written());
        }
        std::future::poll_fn(|cx| self.poll_closed(cx)).await
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Wakers::register(&self.wakers.reader, cx);
        let mut scrap = [0; 4096];
        loop {
            if let Some(code) = self.incoming.stopped {
                return Poll::Ready(Err(StreamError::Stopped { code }));
            }
            if !self.incoming.receiver.is_ended() {
                match self.incoming.take(&mut ReadBuf::new(&mut scrap)) {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => {}
                }
            }
            match &self.incoming.closed {
                Some(StreamError::Lost) if self.incoming.reset.is_none() && self.incoming.receiver.is_ended() => {
                    return Poll::Ready(Ok(()));
                }
                Some(error) => return Poll::Ready(Err(error.clone())),
                None => {}
            }
            if let Some(code) = self.incoming.reset {
                return Poll::Ready(Err(StreamError::Reset { code }));
            }
            ready!(self.incoming.poll_fill(&mut self.io, &mut Context::from_waker(&self.waker)));
        }
    }

    /// Writes out what waits; looks for a STOP on the way.
    fn poll_output(&mut self) -> Poll<Result<(), StreamError>> {
        let mut cx = Context::from_waker(&self.waker);
        while self.incoming.has_room() && self.incoming.poll_fill(&mut self.io, &mut cx).is_ready() {}
        while self.sent < self.output.len() {
            match ready!(Pin::new(&mut self.io).poll_write(&mut cx, &self.output[self.sent..])) {
                Ok(written) if written > 0 => self.sent += written,
                Ok(_) | Err(_) => return Poll::Ready(Err(self.why_not_written())),
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// [`Self::poll_output`] for data: pointless once the other side reads no more.
    fn poll_data(&mut self) -> Poll<Result<(), StreamError>> {
        let written = self.poll_output();
        match self.incoming.stopped {
            Some(code) => Poll::Ready(Err(StreamError::Stopped { code })),
            None => written,
        }
    }

    /// The reason for a failed write: what netcore said before it closed the connection, as far as it fits the buffer.
    fn why_not_written(&mut self) -> StreamError {
        let mut cx = Context::from_waker(&self.waker);
        while self.incoming.has_room() && self.incoming.poll_fill(&mut self.io, &mut cx).is_ready() {}
        match (self.incoming.stopped, &self.incoming.closed) {
            (Some(code), _) => StreamError::Stopped { code },
            (None, Some(error)) => error.clone(),
            (None, None) => StreamError::Lost,
        }
    }
}

impl AsyncRead for DataStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        Wakers::register(&this.wakers.reader, cx);
        if this.incoming.unwanted {
            return Poll::Ready(Err(StreamError::Ended.into()));
        }
        loop {
            if let Some(result) = this.incoming.take(buf) {
                return Poll::Ready(result.map_err(Into::into));
            }
            let cx = &mut Context::from_waker(&this.waker);
            if this.incoming.poll_fill(&mut this.io, cx).is_pending() {
                // What the other side waits for may still be here. A failure shows in the next read or write.
                let _ = this.poll_output();
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for DataStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Wakers::register(&self.wakers.writer, cx);
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_data())?;
        let length = data.len().min(MAX_DATA);
        let header = self.sender.header(DataHeader::Data(length)).ok_or(StreamError::Ended)?;
        self.output.extend_from_slice(&header);
        self.output.extend_from_slice(&data[..length]);
        match self.poll_data() {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(length)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Wakers::register(&self.wakers.writer, cx);
        self.poll_data().map_err(Into::into)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(header) = self.sender.header(DataHeader::Fin) {
            self.output.extend_from_slice(&header);
        }
        Wakers::register(&self.wakers.writer, cx);
        ready!(self.poll_output())?;
        self.poll_data().map_err(Into::into)
    }
}
