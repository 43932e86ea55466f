//! A data connection after its opening: frames taken apart without copying what they carry, and put together again
//! with one system call for a header and many pieces. Every waiting function may be dropped and called again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use polypeer_ipc_protocol::error::{ErrorCode, FIRST_CODE};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::limits::MAX_DATA;
use polypeer_ipc_protocol::session::data::{DataError, Received, Receiver, Sender};
use tokio::sync::OwnedSemaphorePermit;

use super::socket::{ReadHalf, WriteHalf};

/// Least and most bytes asked of the kernel at once; doubled while reads fill what was asked.
const READ: std::ops::RangeInclusive<usize> = (16 << 10)..=(256 << 10);
/// Pieces written with one system call.
const PIECES: usize = 128;
/// Pieces under this size are copied together: a system call with many of them costs more, and each would keep the
/// whole packet it came in.
const SMALL: usize = 512;
/// Size of the blocks that small pieces are copied into.
const BLOCK: usize = 16 << 10;
/// Unwritten bytes from which on all pieces are copied, so that a slow plugin does not keep packets.
const COPY_FROM: usize = 256 << 10;
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
        loop {
            self.buffer.reserve(self.size);
            match self.half.try_read_buf(&mut self.buffer) {
                Ok(read) => {
                    self.size = if read >= self.size { self.size * 2 } else { self.size.min(read * 2) };
                    self.size = self.size.clamp(*READ.start(), *READ.end());
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new(); // an idle stream holds no memory
            }
            self.half.readable().await?;
        }
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

/// The outgoing half: what is pushed is written by [`DataWriter::flush_some`].
#[derive(Debug)]
pub(crate) struct DataWriter {
    half: WriteHalf,
    sender: Sender,
    /// A header or an answer being written, before anything else.
    head: BytesMut,
    /// Bytes of `data` that belong to the frame begun.
    frame: usize,
    data: VecDeque<Bytes>,
    small: BytesMut,
    queued: usize,
    stop: Option<u32>,
    end: Option<DataHeader>,
}

impl DataWriter {
    /// A writer that has nothing to write.
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
        }
    }

    /// The answer to the opening, encoded; goes before everything else.
    pub(crate) fn push_reply(&mut self, reply: &[u8]) {
        self.head.extend_from_slice(reply);
    }

    /// Bytes for the plugin. The caller looks at [`DataWriter::queued`] and limits it.
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

    /// Bytes pushed and not written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Ends the stream after what is queued.
    pub(crate) fn finish(&mut self) {
        self.end.get_or_insert(DataHeader::Fin);
    }

    /// Gives the stream up: what is queued is dropped, but for the frame begun. After an end that has been written,
    /// does nothing.
    pub(crate) fn reset(&mut self, code: u32) {
        if self.sender.is_ended() {
            return;
        }
        self.end = Some(DataHeader::Reset(code));
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

    /// Tells the plugin that nobody reads what it sends.
    pub(crate) fn stop(&mut self, code: u32) {
        self.stop.get_or_insert(code);
    }

    /// Whether there is something to write.
    pub(crate) fn is_pending(&self) -> bool {
        !self.head.is_empty() || self.queued > 0 || self.stop.is_some() || self.end.is_some()
    }

    /// Puts the next header before the data, at a boundary between frames.
    fn next_head(&mut self) {
        if let Some(code) = self.stop.take() {
            self.push_header(DataHeader::Stop(code));
        } else if self.queued > 0 {
            self.freeze_small();
            self.frame = self.queued.min(MAX_DATA);
            self.push_header(DataHeader::Data(self.frame));
        } else if let Some(end) = self.end.take() {
            self.push_header(end);
        }
    }

    fn push_header(&mut self, header: DataHeader) {
        if let Some(bytes) = self.sender.header(header) {
            self.head.extend_from_slice(&bytes);
        }
    }

    /// Writes once what the kernel takes; returns how many bytes of the stream it took. Returns at once when nothing
    /// is pending.
    pub(crate) async fn flush_some(&mut self) -> io::Result<usize> {
        loop {
            if self.frame == 0 && self.head.is_empty() {
                self.next_head();
            }
            if self.frame == 0 && self.head.is_empty() {
                return Ok(0);
            }
            match self.try_write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.half.writable().await?,
                result => return result,
            }
        }
    }

    fn try_write(&mut self) -> io::Result<usize> {
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
        let written = match self.half.try_write_vectored(&pieces[..count])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
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
        Ok(data)
    }

    /// Writes everything out.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.is_pending() {
            self.flush_some().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::gateway::socket::Stream;

    fn halves() -> (DataReader, DataWriter) {
        let (near, far) = Stream::pair().unwrap();
        let (reader, _) = near.into_split();
        let (kept, writer) = far.into_split();
        std::mem::forget(kept); // both ends stay open
        (DataReader::new(reader, BytesMut::new()), DataWriter::new(writer))
    }

    #[tokio::test]
    async fn bytes_of_all_sizes_arrive_in_order_with_their_end() {
        let (mut reader, mut writer) = halves();
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            let (mut rest, mut size) = (&sent[..], 1);
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(size.min(rest.len()));
                writer.push(Bytes::copy_from_slice(piece));
                (rest, size) = (left, size % 40_000 * 2 + 1);
                while writer.queued() > COPY_FROM + 10_000 {
                    writer.flush_some().await.unwrap();
                }
            }
            writer.finish();
            writer.flush().await.unwrap();
        });
        let mut received = Vec::new();
        loop {
            match reader.next().await {
                Input::Data(bytes) => received.extend_from_slice(&bytes),
                Input::Fin => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(received == expected);
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_reset_drops_what_is_queued_but_ends_the_frame_begun() {
        let (mut reader, mut writer) = halves();
        writer.push(Bytes::from(vec![1; 4 << 20]));
        let written = writer.flush_some().await.unwrap();
        assert!(written > 0 && written < MAX_DATA, "the socket's buffer is smaller than a frame: {written}");
        writer.stop(5);
        writer.reset(9);
        let flushing = tokio::spawn(async move { writer.flush().await });
        let (mut bytes, mut stop) = (0, None);
        let code = loop {
            match reader.next().await {
                Input::Data(data) => bytes += data.len(),
                Input::Stop(code) => stop = Some(code),
                Input::Reset(code) => break code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((bytes, stop, code), (MAX_DATA, Some(5), 9));
        flushing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn codes_of_polypeer_are_not_a_plugins_to_send() {
        let (mut reader, mut writer) = halves();
        writer.stop(ErrorCode::NotGranted.number());
        writer.reset(ErrorCode::ConnectionLost.number());
        writer.flush().await.unwrap();
        assert!(matches!(reader.next().await, Input::Stop(code) if code == ErrorCode::Refused.number()));
        assert!(matches!(reader.next().await, Input::Reset(code) if code == ErrorCode::Refused.number()));
    }

    #[tokio::test]
    async fn broken_frames_and_the_end_of_the_connection_are_told_apart() {
        let (near, mut far) = Stream::pair().unwrap();
        let (half, _kept) = near.into_split();
        let mut reader = DataReader::new(half, BytesMut::from(&[1, 0, 0, 0, b'x', 0, 0, 0, 9][..]));
        assert!(matches!(reader.next().await, Input::Data(bytes) if bytes == b"x"[..]));
        assert!(matches!(reader.next().await, Input::Malformed(_)));
        let (near, _) = Stream::pair().unwrap();
        let mut reader = DataReader::new(near.into_split().0, BytesMut::new());
        assert!(matches!(reader.next().await, Input::Closed));
        drop(reader);
        let mut rest = Vec::new();
        drop(_kept);
        far.read_to_end(&mut rest).await.ok();
        assert!(rest.is_empty());
    }
}
