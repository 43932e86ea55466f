//! Streams of frames: long-lived streams between two netcores, e.g. of `gossip/1`. The opener writes frames as on the
//! control stream. The acceptor answers once, that it accepts the stream. For the other direction, it opens a stream of
//! its own.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use quinn::{StoppedError, WriteError};

use super::Links;
use super::stream::PeerStream;
use super::streams::InUse;
use crate::limits::FRAME_STREAMS;
use crate::node::Node;
use crate::wire::frames::FrameBuffer;
use crate::wire::{StreamHeader, StreamKind, code_of};

/// The sending end of a stream of frames.
#[derive(Debug)]
pub(crate) struct FrameSender {
    stream: PeerStream,
}

impl Links {
    /// Opens a stream of frames to `peer`, which is dialed if there is no link. Returns once the peer has accepted it.
    pub(crate) async fn open_frames(
        &self,
        peer: NodeId,
        hints: &[SocketAddr],
        protocol: &Protocol,
        deadline: Instant,
    ) -> Result<FrameSender, Failure> {
        let header = StreamHeader { kind: StreamKind::Internal, protocol: protocol.clone() };
        let opened = async {
            let mut stream = self.start(peer, hints, &header, &[], deadline.into()).await?;
            stream.status(&self.node).await?;
            Ok(FrameSender { stream })
        };
        let late = || Failure::new(ErrorCode::TimedOut, format!("{peer} did not take {protocol} in time"));
        tokio::time::timeout_at(deadline.into(), opened).await.unwrap_or_else(|_| Err(late()))
    }
}

impl FrameSender {
    /// Writes one frame, which begins with its length. Waits while the stream's window is full. When this is dropped
    /// before it returns, a part of the frame may have been sent: the stream must not be used again. Fails once the
    /// peer has stopped the stream or the connection is closed.
    pub(crate) async fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        match self.stream.halves.send.write_all(frame).await {
            Ok(()) => Ok(()),
            Err(WriteError::Stopped(code)) => Err(stopped(code_of(code))),
            Err(_) => Err(self.stream.link.why_closed()),
        }
    }

    /// Waits until the peer stops the stream or the connection is closed; returns the reason.
    pub(crate) async fn ended(&self) -> Failure {
        match self.stream.halves.send.stopped().await {
            Ok(Some(code)) => stopped(code_of(code)),
            Ok(None) | Err(StoppedError::ConnectionLost(_) | StoppedError::ZeroRttRejected) => {
                self.stream.link.why_closed()
            }
        }
    }
}

fn stopped(code: u32) -> Failure {
    Failure { code, message: format!("the peer takes no more: {}", describe(code)) }
}

/// The receiving end of a stream of frames.
#[derive(Debug)]
pub(crate) struct FrameReceiver {
    stream: PeerStream,
    buffer: FrameBuffer,
    _in_use: InUse,
}

impl FrameReceiver {
    /// Accepts a stream that the peer opened; refuses it if the peer has [`FRAME_STREAMS`] already.
    pub(super) async fn accept(node: &Node, mut stream: PeerStream) -> Option<Self> {
        if !stream.link.enter_frames() {
            // A stream that is being refused does not count as in use, so a peer that reads no refusals gets no more
            // streams.
            let text = format!("{FRAME_STREAMS} streams of frames stand already; close one");
            let refusal = Failure::new(ErrorCode::TooManyStreams, text);
            stream.halves.refuse(node, &refusal).await;
            return None;
        }
        let in_use = stream.link.stream_in_use();
        // From here on, dropping the receiver calls `leave_frames`.
        let mut receiver = Self { stream, buffer: FrameBuffer::default(), _in_use: in_use };
        if !receiver.stream.halves.accept(node).await {
            return None;
        }
        receiver.stream.halves.finish();
        Some(receiver)
    }

    /// The peer that sends the frames.
    pub(crate) fn peer(&self) -> NodeId {
        self.stream.peer()
    }

    /// Reads the body of the next frame, at most `limit` bytes; `None` at the end of the stream. A longer frame, or an
    /// end inside a frame, is a breach of the protocol. Cancel safe.
    pub(crate) async fn next(&mut self, node: &Node, limit: usize) -> Result<Option<Bytes>, Failure> {
        let next = self.buffer.next(&mut self.stream.halves, limit).await;
        next.map_err(|broken| self.stream.link.failure(node, broken))
    }

    /// Counts a breach of the protocol in a frame and disconnects the peer.
    pub(crate) fn misbehaved(&self, node: &Node, reason: &str) {
        self.stream.link.misbehaved(node, reason);
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        self.stream.link.leave_frames();
    }
}
