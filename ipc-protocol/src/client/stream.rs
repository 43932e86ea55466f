//! Streams to other plugins as byte pipes: [`DataStream`] hides the frames of its data connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::incoming::{Incoming, StreamError};
use super::pool::Connection;
use crate::frame::DataHeader;
use crate::gateway::Origin;
use crate::ids::Protocol;
use crate::limits::MAX_DATA;
use crate::session::data::{Receiver, Sender};

/// Code of a STOP by a reader that needs no more, though nothing failed.
const DONE: u32 = 0;

/// A reliable ordered byte pipe to a plugin of a peer or of this node; either half closes on its own.
///
/// Reading ends (`Ok(0)`) only at the end that the other side declared; a cut or reset stream is an error that holds a
/// [`StreamError`]. Written bytes may stay in a buffer of one frame until the next write, read or flush: flush, or
/// [`Self::finish`], before waiting for something else. `shutdown` is [`Self::finish`]. Dropping the stream before that
/// cuts it: the other side sees `connection lost`. `split` is for tasks that read and write at the same time.
///
/// A reader that stops with the code 0 needs no more, and nothing failed: writing more is an error, ending the stream
/// is none.
#[derive(Debug)]
pub struct DataStream {
    io: Connection,
    origin: Origin,
    protocol: Protocol,
    incoming: Incoming,
    output: Vec<u8>,
    /// Bytes of `output` already written.
    sent: usize,
    sender: Sender,
    abandoned: bool,
    /// Netcore has closed the connection. What it sent before, such as the code of a STOP, may still be unread.
    unwritable: bool,
    wakers: Arc<Wakers>,
    /// Wakes everybody who waits: each may wait for readiness that another one polled for. The socket becomes ready
    /// only with the wake, so that none can take the readiness of the others.
    waker: Waker,
}

#[derive(Debug, Default)]
struct Wakers {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
    /// Waits for a STOP.
    watcher: Mutex<Option<Waker>>,
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
        for slot in [&self.reader, &self.writer, &self.watcher] {
            let waker = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl DataStream {
    /// A stream on a connection whose opening was answered with `Opened`; `rest` was read after the answer.
    pub(super) fn new(io: Connection, rest: Vec<u8>, origin: Origin, protocol: Protocol) -> Self {
        let wakers = Arc::new(Wakers::default());
        let waker = Waker::from(wakers.clone());
        let incoming = Incoming::new(rest, io.receiver());
        let (output, sender) = (Vec::new(), Sender::default());
        let (abandoned, unwritable) = (false, false);
        Self { io, origin, protocol, incoming, output, sent: 0, sender, abandoned, unwritable, wakers, waker }
    }

    /// The other end.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Flushes, and ends this direction: the other side reads a clean end. Reading continues.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }

    /// Aborts this direction: the other side's reads fail with `code`, which is below [`crate::error::FIRST_CODE`] or
    /// `handler failed`. No effect after [`Self::finish`].
    pub async fn reset(&mut self, code: u32) -> io::Result<()> {
        self.begin_reset(code);
        std::future::poll_fn(|cx| self.poll_sent(cx)).await
    }

    pub(super) fn begin_reset(&mut self, code: u32) {
        if let Some(header) = self.sender.header(DataHeader::Reset(code)) {
            self.output.extend_from_slice(&header);
            self.abandoned = true;
        }
    }

    /// Stops reading: the other side's writes fail with `code`, as in [`Self::reset`]. No effect the second time.
    pub async fn stop(&mut self, code: u32) -> io::Result<()> {
        self.begin_stop(code);
        std::future::poll_fn(|cx| self.poll_sent(cx)).await
    }

    pub(super) fn begin_stop(&mut self, code: u32) {
        if let Some(header) = self.sender.header(DataHeader::Stop(code)) {
            self.output.extend_from_slice(&header);
            self.incoming.unwanted = true;
        }
    }

    /// Waits until the frames begun are written.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Wakers::register(&self.wakers.writer, cx);
        self.poll_output().map(unless_done)
    }

    /// Finishes, and waits until both directions have ended and the other node has acknowledged everything, or the
    /// other side has stopped with the code 0. Bytes that still arrive are discarded. Fails if the stream ends in any
    /// other way.
    pub async fn closed(&mut self) -> Result<(), StreamError> {
        let finished = if self.sender.is_ended() { Ok(()) } else { self.finish().await };
        of_finish(finished)?;
        std::future::poll_fn(|cx| self.poll_closed(cx)).await
    }

    /// [`Self::closed`], once this direction is finished.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.abandoned {
            return Poll::Ready(Err(StreamError::Ended));
        }
        Wakers::register(&self.wakers.reader, cx);
        let mut scrap = [0; 4096];
        loop {
            if let Some(code) = self.incoming.stopped.filter(|code| *code != DONE) {
                return Poll::Ready(Err(StreamError::Stopped { code }));
            }
            if !self.incoming.receiver.is_ended() {
                match self.incoming.take(&mut ReadBuf::new(&mut scrap)) {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => {}
                }
            }
            if let Some(code) = self.incoming.reset {
                return Poll::Ready(Err(StreamError::Reset { code }));
            }
            let arrived = self.incoming.complete || self.incoming.stopped == Some(DONE);
            if arrived && self.incoming.receiver.is_ended() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = &self.incoming.closed {
                return Poll::Ready(Err(error.clone()));
            }
            ready!(self.incoming.poll_fill(&mut self.io, &mut Context::from_waker(&self.waker)));
        }
    }

    /// Waits until the other side reads no more, or the connection has ended; returns which. The reader of the stream
    /// must go on reading meanwhile, or have read to the end.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        Wakers::register(&self.wakers.watcher, cx);
        loop {
            match (self.incoming.stopped, &self.incoming.closed) {
                (Some(code), _) => return Poll::Ready(StreamError::Stopped { code }),
                (None, Some(error)) => return Poll::Ready(error.clone()),
                (None, None) if !self.incoming.has_room() => return Poll::Pending,
                (None, None) => {}
            }
            ready!(self.incoming.poll_fill(&mut self.io, &mut Context::from_waker(&self.waker)));
        }
    }

    /// Writes the buffer out, and looks for a STOP.
    fn poll_output(&mut self) -> Poll<Result<(), StreamError>> {
        let mut cx = Context::from_waker(&self.waker);
        while self.incoming.has_room() && self.incoming.poll_fill(&mut self.io, &mut cx).is_ready() {}
        while self.sent < self.output.len() {
            if self.unwritable {
                return self.poll_why_unwritable().map(Err);
            }
            match ready!(Pin::new(&mut *self.io).poll_write(&mut cx, &self.output[self.sent..])) {
                Ok(written) if written > 0 => self.sent += written,
                ended => {
                    if ended.is_err_and(|error| !is_end(&error)) {
                        self.incoming.closed.get_or_insert(StreamError::Lost);
                    }
                    self.unwritable = true;
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// [`Self::poll_output`] for data: fails once the other side reads no more.
    fn poll_data(&mut self) -> Poll<Result<(), StreamError>> {
        let written = self.poll_output();
        match self.incoming.stopped {
            Some(code) => Poll::Ready(Err(StreamError::Stopped { code })),
            None => written,
        }
    }

    /// The reason of a failed write: what netcore sent before it closed the connection. The socket may not have
    /// reported it as readable yet, so this waits for its end, or for as much as fits in the buffer.
    fn poll_why_unwritable(&mut self) -> Poll<StreamError> {
        let mut cx = Context::from_waker(&self.waker);
        while self.incoming.stopped.is_none() && self.incoming.has_room() {
            ready!(self.incoming.poll_fill(&mut self.io, &mut cx));
        }
        Poll::Ready(match (self.incoming.stopped, &self.incoming.closed) {
            (Some(code), _) => StreamError::Stopped { code },
            (None, Some(error)) => error.clone(),
            (None, None) => StreamError::Lost,
        })
    }
}

/// Whether a write failed because the connection was closed: then reading ends, too.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, WriteZero};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | WriteZero)
}

/// The failure to end a direction, as the stream's.
pub(super) fn of_finish(finished: io::Result<()>) -> Result<(), StreamError> {
    finished.map_err(|error| StreamError::of(&error).cloned().unwrap_or(StreamError::Lost))
}

/// `result` of ending or flushing: that the reader needs no more is no failure.
fn unless_done(result: Result<(), StreamError>) -> io::Result<()> {
    match result {
        Err(StreamError::Stopped { code: DONE }) => Ok(()),
        other => other.map_err(Into::into),
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
                // The other side may wait for what is still buffered. A failure shows in the next read or write.
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
        self.poll_data().map(unless_done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(header) = self.sender.header(DataHeader::Fin) {
            self.output.extend_from_slice(&header);
        }
        Wakers::register(&self.wakers.writer, cx);
        // The end is sent even to a reader that needs no more: netcore waits for it.
        let written = ready!(self.poll_output());
        let stopped = self.incoming.stopped.map_or(Ok(()), |code| Err(StreamError::Stopped { code }));
        Poll::Ready(unless_done(written.and(stopped)))
    }
}

impl Drop for DataStream {
    fn drop(&mut self) {
        let ended = self.sender.is_ended() && self.incoming.receiver.is_ended();
        let clean = !self.abandoned && !self.incoming.unwanted && self.incoming.reset.is_none();
        if ended && clean && self.output.is_empty() && self.incoming.closed.is_none() {
            let nothing = Incoming::new(Vec::new(), Receiver::default());
            self.io.keep(std::mem::replace(&mut self.incoming, nothing));
        }
    }
}
