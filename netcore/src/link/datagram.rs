//! Datagrams between plugins. Each travels in one QUIC datagram (RFC 9221) on the standing link, and arrives once or
//! never. The gateway checks who may send, and knows which plugin receives.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use polypeer_engine::rate::{Bucket, Rate};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use quinn::SendDatagramError;

use super::{LinkHandler, Links, PeerLink};
use crate::node::Node;
use crate::wire::datagram::{decode, encode};

/// Rate limit for the datagrams of one peer: a hundred times what a game or a voice call needs, and 64 Mbit/s of the
/// largest ones. Datagrams beyond it are dropped before they are parsed.
pub const FROM_A_PEER: Rate = Rate { burst: 8192, per_second: 8192 };

impl Links {
    /// Queues a datagram on the link with `peer`. Fails with `unreachable` without a link, `busy` when the send queue
    /// is full, `too large` when it exceeds the path's packets, and `unsupported` when the peer takes no datagrams.
    pub(crate) fn send_datagram(&self, peer: &NodeId, protocol: &Protocol, payload: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.ready(peer) else {
            let text = format!(
                "no connection to {peer} stands, and datagrams make none: open a stream or make a call to it first, or wait \
                 until it is up"
            );
            return Err(Failure::new(ErrorCode::Unreachable, text));
        };
        // Polled once and not awaited: quinn's `send_datagram` would drop datagrams that other plugins have queued.
        let mut queued = pin!(link.connection.send_datagram_wait(encode(protocol, payload)));
        match queued.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                link.sent.add(payload.len() as u64);
                Ok(())
            }
            Poll::Pending => {
                self.node.counters.datagrams_not_sent.count();
                Err(Failure::new(ErrorCode::Busy, "the path to the peer does not take more datagrams now: send fewer"))
            }
            Poll::Ready(Err(SendDatagramError::ConnectionLost(_))) => Err(link.why_closed()),
            Poll::Ready(Err(SendDatagramError::TooLarge)) => {
                self.node.counters.datagrams_not_sent.count();
                Err(Failure::new(
                    ErrorCode::TooLarge,
                    "packets on the path to the peer are too small for this datagram",
                ))
            }
            Poll::Ready(Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled)) => {
                Err(Failure::new(ErrorCode::Unsupported, "the peer takes no datagrams"))
            }
        }
    }
}

/// Passes the peer's datagrams to plugins until the connection is closed.
pub(super) async fn run(node: Arc<Node>, handler: Arc<dyn LinkHandler>, link: Arc<PeerLink>) {
    if link.ready().await.is_err() {
        return;
    }
    let mut bucket = Bucket::new(FROM_A_PEER);
    let mut taken = 0;
    while let Ok(bytes) = link.connection.read_datagram().await {
        taken += 1;
        if !bucket.take(1, Instant::now()) {
            node.counters.datagrams_over_rate.count();
            continue;
        }
        match decode(&bytes) {
            Ok((protocol, payload)) => {
                link.received.add(payload.len() as u64);
                handler.datagram(link.peer, protocol, payload);
            }
            Err(error) => return link.misbehaved(&node, &error.to_string()),
        }
        tokio::task::coop::consume_budget().await;
    }
    // When this task does not keep up, QUIC drops the oldest datagrams itself; they are counted here.
    node.counters.datagrams_over_rate.add(link.connection.stats().frame_rx.datagram.saturating_sub(taken));
}
