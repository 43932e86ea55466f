//! The writing half of a data connection. One system call writes a header and many pieces.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::limits::MAX_DATA;
use polypeer_ipc_protocol::session::data::Sender;
use tokio::io::AsyncWrite;

use crate::gateway::socket::WriteHalf;

/// Most pieces written with one system call.
const PIECES: usize = 128;
/// Pieces below this size, in bytes, are copied into one block: a system call with many small pieces costs more, and
/// each piece would keep its whole packet in memory.
const SMALL: usize = 512;
/// Bytes in a block that small pieces are copied into.
const BLOCK: usize = 16 << 10;
/// Beyond this many unwritten bytes all pieces are copied, so that a slow plugin does not keep packets in memory.
pub(super) const COPY_FROM: usize = 256 << 10;

/// The half that writes to the plugin. `push` queues bytes; [`DataWriter::flush_some`] writes them.
#[derive(Debug)]
pub(crate) struct DataWriter {
    half: WriteHalf,
    sender: Sender,
    /// A header or an answer that is being written; it goes before everything else.
    head: BytesMut,
    /// Bytes of `data` that belong to the frame in progress.
    frame: usize,
    data: VecDeque<Bytes>,
    small: BytesMut,
    queued: usize,
    stop: Option<u32>,
    end: Option<DataHeader>,
    keep: bool,
}

impl DataWriter {
    /// A writer with an empty queue.
    pub(crate) fn new(half: WriteHalf) -> Self {
        Self {
            half,
            sender: Sender::default(),
            head: BytesMut::new(),
            frame: 0,
            data: VecDeque::new(),
            small: BytesMut::new(),
            queued: 0,
            stop: None,
            end: None,
            keep: false,
        }
    }

    /// Queues the encoded answer to the opening. It goes before everything else.
    pub(crate) fn push_reply(&mut self, reply: &[u8]) {
        self.head.extend_from_slice(reply);
    }

    /// Queues bytes for the plugin. The caller limits the queue with the help of [`DataWriter::queued`].
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() || self.end.is_some() || self.sender.is_ended() {
            return;
        }
        self.queued += bytes.len();
        if bytes.len() < SMALL || self.queued > COPY_FROM {
            self.small.extend_from_slice(&bytes);
            if self.small.len() >= BLOCK {
                self.data.push_back(self.small.split().freeze());
            }
        } else {
            self.freeze_small();
            self.data.push_back(bytes);
        }
    }

    fn freeze_small(&mut self) {
        if !self.small.is_empty() {
            self.data.push_back(std::mem::take(&mut self.small).freeze());
        }
    }

    /// Bytes pushed and not yet written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Ends the stream after the queued bytes.
    pub(crate) fn finish(&mut self) {
        self.end.get_or_insert(DataHeader::Fin);
    }

    /// Resets the stream: drops the queued bytes, except those of the frame in progress. Does nothing once the end of
    /// the stream has been written.
    pub(crate) fn reset(&mut self, code: u32) {
        if self.sender.is_ended() {
            return;
        }
        self.discard();
        self.end = Some(DataHeader::Reset(code));
    }

    /// Drops the queued bytes, except those of the frame in progress, and an end that is not written yet: the plugin
    /// wants no more of them.
    pub(crate) fn discard(&mut self) {
        self.end = None;
        self.freeze_small();
        let mut keep = self.frame;
        self.data.retain_mut(|piece| {
            let kept = keep.min(piece.len());
            piece.truncate(kept);
            keep -= kept;
            kept > 0
        });
        self.queued = self.frame;
    }

    /// Whether bytes or the end of a stream that was not reset are still to be written.
    pub(crate) fn delivers(&self) -> bool {
        match self.end {
            Some(DataHeader::Reset(_)) => false,
            Some(_) => true,
            None => self.queued > 0,
        }
    }

    /// Tells the plugin that its bytes are no longer read.
    pub(crate) fn stop(&mut self, code: u32) {
        self.stop.get_or_insert(code);
    }

    /// Tells the plugin, after all else, that the stream is over and the connection kept.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// The half, once nothing is pending.
    pub(crate) fn into_half(self) -> WriteHalf {
        self.half
    }

    /// Whether there is something to write.
    pub(crate) fn is_pending(&self) -> bool {
        !self.head.is_empty() || self.queued > 0 || self.stop.is_some() || self.end.is_some() || self.keep
    }

    /// Prepares the next headers. Called between two frames only.
    fn next_head(&mut self) {
        if let Some(code) = self.stop.take() {
            self.push_header(DataHeader::Stop(code));
        }
        if self.queued > 0 {
            self.freeze_small();
            self.frame = self.queued.min(MAX_DATA);
            self.push_header(DataHeader::Data(self.frame));
            return;
        }
        if let Some(end) = self.end.take() {
            self.push_header(end);
        }
        if std::mem::take(&mut self.keep) {
            self.push_header(DataHeader::Kept);
        }
    }

    fn push_header(&mut self, header: DataHeader) {
        if let Some(bytes) = self.sender.header(header) {
            self.head.extend_from_slice(&bytes);
        }
    }

    /// Writes once, as much as the kernel accepts. Returns the number of stream bytes written; 0 at once when nothing
    /// is pending.
    pub(crate) async fn flush_some(&mut self) -> io::Result<usize> {
        if self.frame == 0 && self.head.is_empty() {
            self.next_head();
        }
        if self.frame == 0 && self.head.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        if !self.head.is_empty() {
            pieces[0] = IoSlice::new(&self.head);
            count = 1;
        }
        let mut left = self.frame;
        for piece in &self.data {
            if left == 0 || count == PIECES {
                break;
            }
            let length = left.min(piece.len());
            pieces[count] = IoSlice::new(&piece[..length]);
            left -= length;
            count += 1;
        }
        let written = match ready!(Pin::new(&mut self.half).poll_write_vectored(cx, &pieces[..count]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        };
        let head = written.min(self.head.len());
        self.head.advance(head);
        let data = written - head;
        self.frame -= data;
        self.queued -= data;
        let mut left = data;
        while left > 0 {
            let piece = self.data.front_mut().expect("as many bytes are queued as were written");
            let taken = left.min(piece.len());
            piece.advance(taken);
            left -= taken;
            if piece.is_empty() {
                self.data.pop_front();
            }
        }
        Poll::Ready(Ok(data))
    }

    /// Writes everything that is pending.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.is_pending() {
            self.flush_some().await?;
        }
        Ok(())
    }
}
