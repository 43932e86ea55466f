//! Long-lived streams between two netcores, as `gossip/1` uses them: the opener writes frames, as on the control stream;
//! the acceptor answers that it takes them, and nothing more. For the other direction the other side opens its own.

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

/// The end that writes.
#[derive(Debug)]
pub(crate) struct FrameSender {
    stream: PeerStream,
}

impl Links {
    /// Opens a stream of frames to `peer`, which is dialed if there is no link: returns once it takes them.
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
    /// Writes one frame, its length before it. Waits while the peer takes no more; when dropped meanwhile the stream
    /// is of no more use. Fails once the peer or the connection has given it up.
    pub(crate) async fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        match self.stream.halves.send.write_all(frame).await {
            Ok(()) => Ok(()),
            Err(WriteError::Stopped(code)) => Err(stopped(code_of(code))),
            Err(_) => Err(self.stream.link.why_closed()),
        }
    }

    /// Waits until the peer or the connection gives the stream up, and says why.
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

/// The end that reads.
#[derive(Debug)]
pub(crate) struct FrameReceiver {
    stream: PeerStream,
    buffer: FrameBuffer,
    _in_use: InUse,
}

impl FrameReceiver {
    /// Takes a stream the peer opened, unless it has too many already.
    pub(super) async fn accept(node: &Node, mut stream: PeerStream) -> Option<Self> {
        if !stream.link.enter_frames() {
            // Not in use while it is turned down: a peer that does not take refusals gets no more streams.
            let text = format!("{FRAME_STREAMS} streams of frames stand already; close one");
            let refusal = Failure::new(ErrorCode::TooManyStreams, text);
            stream.halves.refuse(node, &refusal).await;
            return None;
        }
        let in_use = stream.link.stream_in_use();
        // From here on `drop` leaves.
        let mut receiver = Self { stream, buffer: FrameBuffer::default(), _in_use: in_use };
        if !receiver.stream.halves.accept(node).await {
            return None;
        }
        receiver.stream.halves.finish();
        Some(receiver)
    }

    /// Who writes.
    pub(crate) fn peer(&self) -> NodeId {
        self.stream.peer()
    }

    /// The body of the next frame, at most `limit` bytes; `None` at the end. A longer one, or an end inside of one, breaks
    /// a rule. Cancel safe.
    pub(crate) async fn next(&mut self, node: &Node, limit: usize) -> Result<Option<Bytes>, Failure> {
        let next = self.buffer.next(&mut self.stream.halves, limit).await;
        next.map_err(|broken| self.stream.link.failure(node, broken))
    }

    /// The peer broke a rule in what it wrote: counted, and the connection is closed.
    pub(crate) fn misbehaved(&self, node: &Node, reason: &str) {
        self.stream.link.misbehaved(node, reason);
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        self.stream.link.leave_frames();
    }
}
