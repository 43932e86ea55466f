//! Both halves of one bidirectional stream to a peer, on whatever kind of connection: header, answer, message, end.
//! Whatever happens to it, the peer never sees an end that was not meant: dropped before its end, a stream is reset.

use std::time::Duration;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::budget::Payloads;
use super::closed::code_of;
use super::header::{self, StreamHeader, WireError};
use crate::node::Node;

/// For a peer to take that its stream is accepted, or refused and why: a few hundred bytes.
const STATUS: Duration = Duration::from_secs(10);
/// For a peer to take a reply: 64 KiB in this time are 26 kbit/s.
const REPLY: Duration = Duration::from_secs(20);

/// One stream; the connection may be a link or a query connection.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    /// The half for sending was ended or reset.
    pub(crate) sent: bool,
    /// The half for receiving ended or was stopped.
    pub(crate) received: bool,
    /// What the peer sees when this is dropped before its end.
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

    /// Gives the sending half up.
    pub(crate) fn reset(&mut self, code: u32) {
        let _ = self.send.reset(VarInt::from_u32(code));
        self.sent = true;
    }

    /// Reads no more.
    pub(crate) fn stop(&mut self, code: u32) {
        let _ = self.recv.stop(VarInt::from_u32(code));
        self.received = true;
    }

    /// Turns the stream down, with the reason.
    pub(crate) async fn refuse(&mut self, node: &Node, failure: &Failure) {
        self.stop(failure.code);
        if self.answer(node, &header::refusal_bytes(failure), STATUS).await {
            self.finish();
        }
    }

    /// Takes a stream. Whether the peer was told.
    pub(crate) async fn accept(&mut self, node: &Node) -> bool {
        self.answer(node, &[header::ACCEPTED], STATUS).await
    }

    /// Answers a call. Whether the reply is on its way.
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

    /// Writes an answer, for which the peer must have room within `limit`: a peer that takes none would keep what waits for it
    /// for ever.
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

    /// Sends the header and the payload of a call whole. Stopped already means refused already: the status says why.
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

    /// Reads the header of a stream the peer opened; `None` when its kind is of a later version.
    pub(crate) async fn header(&mut self) -> Result<Option<StreamHeader>, Broken> {
        let mut length = [0; 2];
        self.recv.read_exact(&mut length).await?;
        let mut body = vec![0; header::header_length(length).map_err(|error| Broken::Rule(error.to_string()))?];
        self.recv.read_exact(&mut body).await?;
        header::read_header(&body).map_err(|error| Broken::Rule(error.to_string()))
    }

    /// Reads the answer to a stream this node opened: nothing, or why it is refused.
    pub(crate) async fn read_status(&mut self) -> Result<Option<Failure>, Broken> {
        let mut status = [0; 1];
        self.recv.read_exact(&mut status).await?;
        match status[0] {
            header::ACCEPTED => Ok(None),
            header::REFUSED => {
                let mut length = [0; 2];
                self.recv.read_exact(&mut length).await?;
                let rule = |error: WireError| Broken::Rule(error.to_string());
                let mut body = vec![0; header::failure_length(length).map_err(rule)?];
                self.recv.read_exact(&mut body).await?;
                self.received = true;
                header::read_failure(&body).map(Some).map_err(rule)
            }
            other => Err(Broken::Rule(format!("stream answered with status {other}"))),
        }
    }

    /// Waits for the peer to give up a stream that it opened and that is not accepted yet.
    pub(crate) async fn given_up(&mut self) -> Broken {
        match self.recv.read_chunk(1, true).await {
            Ok(Some(_)) => Broken::Rule("bytes on a stream before it was accepted".to_owned()),
            Ok(None) => Broken::Rule("end of a stream before it was accepted".to_owned()),
            Err(error) => Broken::from(error),
        }
    }

    /// Reads everything up to the end, at most `limit` bytes.
    pub(crate) async fn read_all(&mut self, limit: usize) -> Result<Bytes, Broken> {
        Ok(self.read_while(limit, |_| true).await?.unwrap_or_default())
    }

    /// The same of what a peer sends unasked; `None` when too much of that is on its way already.
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

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection is gone.
    Lost,
    /// The peer gave it up, with this code.
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
