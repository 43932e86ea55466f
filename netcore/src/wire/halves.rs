//! Both halves of a bidirectional stream to a peer, on a link or a query connection: header, status, message, end. A
//! half that is dropped before its end is reset or stopped, so the peer never takes it for complete.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use polypeer_engine::link::credit::INITIAL_WINDOW;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::budget::{Payloads, Unfinished};
use super::closed::code_of;
use super::header::{self, StreamHeader, WireError};
use crate::node::Node;

/// Timeout for the peer to read the status of its stream: a few hundred bytes.
const STATUS: Duration = Duration::from_secs(10);
/// Timeout for the peer to read a reply: 64 KiB in this time are 26 kbit/s.
const REPLY: Duration = Duration::from_secs(20);

/// Most bytes that a peer may send before a stream is accepted: the credit that every stream begins with.
const MAX_EARLY: usize = INITIAL_WINDOW as usize;
/// Timeout for the end of a refused stream, which usually comes with the refusal.
const END: Duration = Duration::from_secs(1);

/// A bidirectional stream on a link or a query connection.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    /// Whether the sending half was ended or reset.
    pub(crate) sent: bool,
    /// Whether the receiving half ended or was stopped.
    pub(crate) received: bool,
    /// The code for the peer when this is dropped before its end.
    pub(crate) abandon: ErrorCode,
}

impl Halves {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send, recv, sent: false, received: false, abandon: ErrorCode::Cancelled }
    }

    /// Ends the sending half.
    pub(crate) fn finish(&mut self) {
        let _ = self.send.finish();
        self.sent = true;
    }

    /// Resets the sending half.
    pub(crate) fn reset(&mut self, code: u32) {
        let _ = self.send.reset(VarInt::from_u32(code));
        self.sent = true;
    }

    /// Stops the receiving half.
    pub(crate) fn stop(&mut self, code: u32) {
        let _ = self.recv.stop(VarInt::from_u32(code));
        self.received = true;
    }

    /// Refuses the stream, with the reason.
    pub(crate) async fn refuse(&mut self, node: &Node, failure: &Failure) {
        self.stop(failure.code);
        if self.answer(node, &header::refusal_bytes(failure), STATUS).await {
            self.finish();
        }
    }

    /// Accepts the stream. Returns whether the status was written.
    pub(crate) async fn accept(&mut self, node: &Node) -> bool {
        self.answer(node, &[header::ACCEPTED], STATUS).await
    }

    /// Replies to a call or question. Returns whether the reply was written.
    pub(crate) async fn reply(&mut self, node: &Node, reply: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(1 + reply.len());
        bytes.push(header::ACCEPTED);
        bytes.extend_from_slice(reply);
        let written = self.answer(node, &bytes, REPLY).await;
        if written {
            self.finish();
        }
        written
    }

    /// Writes an answer within `limit`. Without that timeout, a peer that never reads would make this node hold the
    /// answer for ever.
    async fn answer(&mut self, node: &Node, bytes: &[u8], limit: Duration) -> bool {
        match timeout(limit, self.send.write_all(bytes)).await {
            Ok(written) => written.is_ok(),
            Err(_) => {
                node.counters.peer_answers_untaken.count();
                self.reset(ErrorCode::TimedOut.number());
                false
            }
        }
    }

    /// Sends the header and the payload of a call or question. If the peer has stopped the stream, it has refused it:
    /// the status has the reason.
    pub(crate) async fn send_call(&mut self, header: &StreamHeader, payload: &[u8]) -> Result<(), Broken> {
        let mut bytes = header::header_bytes(header);
        bytes.extend_from_slice(payload);
        match self.send.write_all(&bytes).await {
            Ok(()) => self.finish(),
            Err(quinn::WriteError::Stopped(_)) => {}
            Err(_) => return Err(Broken::Lost),
        }
        Ok(())
    }

    /// Reads the header of a stream that the peer opened; `None` if its kind is of a later version.
    pub(crate) async fn header(&mut self) -> Result<Option<StreamHeader>, Broken> {
        let mut length = [0; 2];
        self.recv.read_exact(&mut length).await?;
        let mut body = vec![0; header::header_length(length).map_err(|error| Broken::Rule(error.to_string()))?];
        self.recv.read_exact(&mut body).await?;
        header::read_header(&body).map_err(|error| Broken::Rule(error.to_string()))
    }

    /// Reads the status of a stream that this node opened: `None` if it is accepted, else the refusal.
    pub(crate) async fn read_status(&mut self) -> Result<Option<Failure>, Broken> {
        let refusal = read_status(&mut self.recv).await?;
        self.received |= refusal.is_some(); // its end was read, too
        Ok(refusal)
    }

    /// Takes what the peer sends on a stream that it opened and that is not accepted yet, up to the credit of a new
    /// stream. Returns when the peer resets the stream or breaks a rule on it; `None` when `room` has none left.
    pub(crate) async fn take_early(&mut self, early: &mut Early, room: &mut Unfinished<'_>) -> Option<Broken> {
        while !self.received {
            match self.recv.read_chunk(MAX_EARLY + 1 - early.0.len(), true).await {
                Ok(Some(chunk)) if early.0.len() + chunk.bytes.len() > MAX_EARLY => {
                    let text = format!("over {MAX_EARLY} bytes on a stream before it was accepted");
                    return Some(Broken::Rule(text));
                }
                Ok(Some(chunk)) if !room.add(chunk.bytes.len()) => return None,
                Ok(Some(chunk)) => early.0.extend_from_slice(&chunk.bytes),
                Ok(None) => self.received = true,
                Err(error) => return Some(error.into()),
            }
        }
        // Nothing more comes. A peer that gives up stops the other direction.
        match self.send.stopped().await {
            Ok(Some(code)) => Some(Broken::Gone(code_of(code))),
            _ => Some(Broken::Lost),
        }
    }

    /// Reads everything up to the end, at most `limit` bytes.
    pub(crate) async fn read_all(&mut self, limit: usize) -> Result<Bytes, Broken> {
        Ok(self.read_while(limit, |_| true).await?.unwrap_or_default())
    }

    /// As [`Self::read_all`], for a payload that the peer sends unasked; `None` when `payloads` has no room for it.
    pub(crate) async fn read_payload(&mut self, limit: usize, payloads: &Payloads) -> Result<Option<Bytes>, Broken> {
        let mut unfinished = payloads.begin();
        self.read_while(limit, |bytes| unfinished.add(bytes)).await
    }

    async fn read_while(&mut self, limit: usize, mut fits: impl FnMut(usize) -> bool) -> Result<Option<Bytes>, Broken> {
        let mut all = Vec::new();
        while let Some(chunk) = self.recv.read_chunk(limit + 1 - all.len(), true).await? {
            if !fits(chunk.bytes.len()) {
                return Ok(None);
            }
            all.extend_from_slice(&chunk.bytes);
            if all.len() > limit {
                return Err(Broken::Rule(format!("message of over {limit} bytes")));
            }
        }
        self.received = true;
        Ok(Some(all.into()))
    }
}

/// [`Halves::read_status`] of one half.
pub(crate) async fn read_status(recv: &mut RecvStream) -> Result<Option<Failure>, Broken> {
    let mut status = [0; 1];
    recv.read_exact(&mut status).await?;
    match status[0] {
        header::ACCEPTED => Ok(None),
        header::REFUSED => {
            let mut length = [0; 2];
            recv.read_exact(&mut length).await?;
            let rule = |error: WireError| Broken::Rule(error.to_string());
            let mut body = vec![0; header::failure_length(length).map_err(rule)?];
            recv.read_exact(&mut body).await?;
            // The end follows. Not read, it would be answered with a request to stop, which is an error to some.
            if let Ok(Ok(Some(_))) = timeout(END, recv.read_chunk(1, true)).await {
                return Err(Broken::Rule("bytes after a refusal".to_owned()));
            }
            header::read_failure(&body).map(Some).map_err(rule)
        }
        other => Err(Broken::Rule(format!("stream answered with status {other}"))),
    }
}

/// What a peer has sent on a stream that it opened, before that was accepted: at most [`MAX_EARLY`] bytes, copied, so
/// that small pieces do not keep their packets in memory.
#[derive(Debug, Default)]
pub(crate) struct Early(pub(crate) BytesMut);

impl Drop for Halves {
    fn drop(&mut self) {
        if !self.sent {
            self.reset(self.abandon.number());
        }
        if !self.received {
            self.stop(self.abandon.number());
        }
    }
}

/// Why a stream failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection is lost.
    Lost,
    /// The peer reset the stream, with this code.
    Gone(u32),
    /// The peer broke a rule.
    Rule(String),
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Gone(code_of(code)),
            _ => Self::Lost,
        }
    }
}

impl From<ReadExactError> for Broken {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Rule("a stream ended inside its header".to_owned()),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}
