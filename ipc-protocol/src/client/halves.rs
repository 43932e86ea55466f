//! Both directions of a [`DataStream`], each for a task of its own. They share the stream behind a lock that is held
//! only while it is polled.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::incoming::StreamError;
use super::stream::{DataStream, of_finish};

/// The direction from the other side. Dropping it alone changes nothing.
#[derive(Debug)]
pub struct StreamReader(Arc<Mutex<DataStream>>);

/// The direction to the other side. Dropping it alone changes nothing.
#[derive(Debug)]
pub struct StreamWriter(Arc<Mutex<DataStream>>);

/// Watches whether the other side still reads, beside the task that writes. It does not keep the stream alive.
#[derive(Debug, Clone)]
pub struct StreamWatch(Weak<Mutex<DataStream>>);

impl StreamWatch {
    /// Waits until the other side reads no more, or the connection has ended; returns which. The reader must go on
    /// reading meanwhile, or have read to the end: what says so comes behind the data. One task at a time may wait.
    pub async fn stopped(&self) -> StreamError {
        poll_fn(|cx| match self.0.upgrade() {
            Some(stream) => locked(&stream).poll_stopped(cx),
            None => Poll::Ready(StreamError::Lost),
        })
        .await
    }
}

impl DataStream {
    /// Both directions on their own, each for a task of its own.
    pub fn split(self) -> (StreamReader, StreamWriter) {
        let shared = Arc::new(Mutex::new(self));
        (StreamReader(Arc::clone(&shared)), StreamWriter(shared))
    }
}

fn locked(shared: &Mutex<DataStream>) -> MutexGuard<'_, DataStream> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamReader {
    /// As [`DataStream::stop`].
    pub async fn stop(&mut self, code: u32) -> io::Result<()> {
        locked(&self.0).begin_stop(code);
        poll_fn(|cx| locked(&self.0).poll_sent(cx)).await
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_read(cx, buf)
    }
}

impl StreamWriter {
    /// Watches whether the other side still reads.
    pub fn watch(&self) -> StreamWatch {
        StreamWatch(Arc::downgrade(&self.0))
    }

    /// As [`DataStream::reset`].
    pub async fn reset(&mut self, code: u32) -> io::Result<()> {
        locked(&self.0).begin_reset(code);
        poll_fn(|cx| locked(&self.0).poll_sent(cx)).await
    }

    /// As [`DataStream::closed`].
    pub async fn closed(&mut self) -> Result<(), StreamError> {
        of_finish(self.shutdown().await)?;
        poll_fn(|cx| locked(&self.0).poll_closed(cx)).await
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *locked(&self.0)).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_shutdown(cx)
    }
}
