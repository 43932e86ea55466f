//! One stream to a peer. Whatever happens to it, the peer never sees an end that its plugin did not write: dropped
//! before its end, a stream is reset.

use std::sync::Arc;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};

use super::credit::Credit;
use super::wire::{self, StreamHeader};
use super::{Link, code_of};
use crate::node::Node;

/// Both halves of a stream between two netcores.
#[derive(Debug)]
pub(crate) struct PeerStream {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) credit: Arc<Credit>,
    /// The half for sending was ended or reset.
    pub(super) sent: bool,
    /// The half for receiving ended or was stopped.
    pub(super) received: bool,
    /// What the peer sees when this is dropped before its end.
    pub(super) abandon: ErrorCode,
}

impl PeerStream {
    pub(super) fn new(link: Arc<Link>, send: SendStream, recv: RecvStream) -> Self {
        let id = VarInt::from(send.id()).into_inner();
        let credit = link.register(id);
        Self { link, id, send, recv, credit, sent: false, received: false, abandon: ErrorCode::Cancelled }
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> NodeId {
        self.link.peer
    }

    /// Ends the sending half.
    pub(super) fn finish(&mut self) {
        let _ = self.send.finish();
        self.sent = true;
    }

    /// Gives the sending half up.
    pub(super) fn reset(&mut self, code: u32) {
        let _ = self.send.reset(VarInt::from_u32(code));
        self.sent = true;
    }

    /// Reads no more.
    pub(super) fn stop(&mut self, code: u32) {
        let _ = self.recv.stop(VarInt::from_u32(code));
        self.received = true;
    }

    /// Turns the stream down, with the reason.
    pub(super) async fn refuse(mut self, failure: &Failure) {
        self.stop(failure.code);
        if self.send.write_all(&wire::refusal_bytes(failure)).await.is_ok() {
            self.finish();
        }
    }

    /// Reads the header of a stream the peer opened; `None` when its kind is of a later version.
    pub(super) async fn header(&mut self) -> Result<Option<StreamHeader>, Broken> {
        let mut length = [0; 2];
        self.recv.read_exact(&mut length).await?;
        let mut body = vec![0; wire::header_length(length).map_err(|error| Broken::Rule(error.to_string()))?];
        self.recv.read_exact(&mut body).await?;
        wire::read_header(&body).map_err(|error| Broken::Rule(error.to_string()))
    }

    /// Waits for the answer to a stream this node opened. Fails as the peer refuses it.
    pub(super) async fn status(&mut self, node: &Node) -> Result<(), Failure> {
        let refusal = match self.read_status().await {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => refusal,
            Err(Broken::Lost) => self.link.why_closed(),
            Err(Broken::Gone(code)) => Failure { code, message: format!("the peer said: {}", describe(code)) },
            Err(Broken::Rule(reason)) => {
                self.link.misbehaved(node, &reason);
                Failure::new(ErrorCode::PeerMisbehaved, reason)
            }
        };
        Err(refusal)
    }

    async fn read_status(&mut self) -> Result<Option<Failure>, Broken> {
        let mut status = [0; 1];
        self.recv.read_exact(&mut status).await?;
        match status[0] {
            wire::ACCEPTED => Ok(None),
            wire::REFUSED => {
                let mut length = [0; 2];
                self.recv.read_exact(&mut length).await?;
                let rule = |error: wire::WireError| Broken::Rule(error.to_string());
                let mut body = vec![0; wire::failure_length(length).map_err(rule)?];
                self.recv.read_exact(&mut body).await?;
                self.received = true;
                wire::read_failure(&body).map(Some).map_err(rule)
            }
            other => Err(Broken::Rule(format!("stream answered with status {other}"))),
        }
    }

    /// Waits for the peer to give up a stream that it opened and that is not accepted yet.
    pub(super) async fn given_up(&mut self) -> Broken {
        match self.recv.read_chunk(1, true).await {
            Ok(Some(_)) => Broken::Rule("bytes on a stream before it was accepted".to_owned()),
            Ok(None) => Broken::Rule("end of a stream before it was accepted".to_owned()),
            Err(error) => Broken::from(error),
        }
    }

    /// Reads everything up to the end, at most `limit` bytes.
    pub(super) async fn read_all(&mut self, limit: usize) -> Result<Bytes, Broken> {
        let mut all = Vec::new();
        while let Some(chunk) = self.recv.read_chunk(limit + 1 - all.len(), true).await? {
            all.extend_from_slice(&chunk.bytes);
            if all.len() > limit {
                return Err(Broken::Rule(format!("message of over {limit} bytes")));
            }
        }
        self.received = true;
        Ok(all.into())
    }
}

impl Drop for PeerStream {
    fn drop(&mut self) {
        if !self.sent {
            self.reset(self.abandon.number());
        }
        if !self.received {
            self.stop(self.abandon.number());
        }
        self.link.unregister(self.id);
    }
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(super) enum Broken {
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
