//! Outgoing streams, calls and pings of this node's plugins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use tokio::time::Instant;

use super::Links;
use super::stream::PeerStream;
use crate::plugins::account::Account;
use crate::wire::{StreamHeader, StreamKind, header_bytes};

impl Links {
    /// Begins to open a stream, which the peer has not accepted yet. Fails with the codes of dialing.
    pub(crate) async fn open(
        &self,
        peer: NodeId,
        hints: &[SocketAddr],
        protocol: &Protocol,
        deadline: Instant,
    ) -> Result<PeerStream, Failure> {
        let header = StreamHeader { kind: StreamKind::Stream, protocol: protocol.clone() };
        self.start(peer, hints, &header, &[], deadline).await
    }

    /// Sends a payload of at most 64 KiB and waits for the reply.
    pub(crate) async fn call(
        &self,
        account: &Account,
        peer: NodeId,
        hints: &[SocketAddr],
        protocol: &Protocol,
        payload: Payload,
        deadline: Instant,
    ) -> Result<Payload, Failure> {
        let header = StreamHeader { kind: StreamKind::Call, protocol: protocol.clone() };
        let mut stream = self.start(peer, hints, &header, &payload.0, deadline).await?;
        stream.halves.finish();
        account.sent.add(payload.0.len() as u64);
        stream.status(&self.node).await?;
        let reply =
            stream.halves.read_all(MAX_PAYLOAD).await.map_err(|broken| stream.link.failure(&self.node, broken))?;
        account.received.add(reply.len() as u64);
        Ok(Payload(reply))
    }

    /// Opens a stream on the link with `peer`, which is dialed if there is none, and sends `header` and `payload`. A
    /// link that turns out to be lost is replaced once.
    pub(super) async fn start(
        &self,
        peer: NodeId,
        hints: &[SocketAddr],
        header: &StreamHeader,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<PeerStream, Failure> {
        let mut retried = false;
        loop {
            let connection = self.node.peers()?.connect(peer, hints, deadline.into_std()).await?;
            let gone = match self.of(&peer, &connection) {
                Ok(link) => match link.ready().await {
                    Ok(()) => match link.connection.open_bi().await {
                        Ok((send, recv)) => {
                            let mut stream = PeerStream::new(Arc::clone(&link), send, recv);
                            if header.kind != StreamKind::Internal {
                                stream.kept = Some(self.node.peers()?.keep(peer));
                            }
                            let mut bytes = header_bytes(header);
                            bytes.extend_from_slice(payload);
                            // If the peer has stopped the stream, it has refused it: the status has the reason.
                            return match stream.halves.send.write_all(&bytes).await {
                                Ok(()) | Err(quinn::WriteError::Stopped(_)) => Ok(stream),
                                Err(_) => Err(link.why_closed()),
                            };
                        }
                        Err(_) => link.why_closed(),
                    },
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if std::mem::replace(&mut retried, true) || !gone.is(ErrorCode::ConnectionLost) {
                return Err(gone);
            }
        }
    }

    /// Measures a round trip to `peer`, which is dialed if there is no link. A link that turns out to be lost is
    /// replaced once.
    pub(crate) async fn ping(
        &self,
        peer: NodeId,
        hints: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Duration, Failure> {
        let mut retried = false;
        loop {
            let connection = self.node.peers()?.connect(peer, hints, deadline.into_std()).await?;
            let measured = match self.of(&peer, &connection) {
                Ok(link) => link.ping().await,
                Err(failure) => Err(failure),
            };
            match measured {
                Err(failure) if failure.is(ErrorCode::ConnectionLost) && !std::mem::replace(&mut retried, true) => {}
                measured => return measured,
            }
        }
    }
}
