//! Datagrams between plugins: what one sends arrives once or never, in one QUIC datagram (RFC 9221) on the connection
//! that stands. Who may send is checked by [`crate::gateway::datagrams`], which also has the table of who receives.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_PROTOCOL};
use quinn::SendDatagramError;

use super::Link;
use crate::gateway::datagrams;
use crate::node::Node;
use crate::rate::{Bucket, Rate};

/// Datagrams of one peer that are looked at: as much as a game or a call needs a hundred times over, and 64 Mbit/s of the
/// largest. What comes beyond is dropped before it costs more than this check.
pub const FROM_A_PEER: Rate = Rate { burst: 8192, per_second: 8192 };
/// Largest datagram: the protocol's length and name, and the payload.
pub const MAX_WIRE: usize = 1 + MAX_PROTOCOL + MAX_DATAGRAM;

/// Why bytes are no datagram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// The name is not there whole, or is no protocol.
    #[error("a datagram does not begin with the name of a protocol")]
    Protocol,
    /// Too long.
    #[error("datagram with a payload of {length} bytes; the limit is {MAX_DATAGRAM}")]
    TooLarge {
        /// Of the payload.
        length: usize,
    },
}

/// A datagram as it travels. `payload` has at most [`MAX_DATAGRAM`] bytes.
pub fn encode(protocol: &Protocol, payload: &[u8]) -> Bytes {
    let name = protocol.as_str().as_bytes();
    let mut bytes = BytesMut::with_capacity(1 + name.len() + payload.len());
    bytes.extend_from_slice(&[u8::try_from(name.len()).expect("names have at most 80 bytes")]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// Reads a datagram.
pub fn decode(bytes: &Bytes) -> Result<(Protocol, Bytes), BadDatagram> {
    let length = usize::from(*bytes.first().ok_or(BadDatagram::Protocol)?);
    let name = bytes.get(1..=length).ok_or(BadDatagram::Protocol)?;
    let text = std::str::from_utf8(name).map_err(|_| BadDatagram::Protocol)?;
    let protocol = text.parse().map_err(|_| BadDatagram::Protocol)?;
    let payload = bytes.slice(1 + length..);
    if payload.len() > MAX_DATAGRAM {
        return Err(BadDatagram::TooLarge { length: payload.len() });
    }
    Ok((protocol, payload))
}

/// Queues a datagram on the connection to `peer`. Fails with `unreachable` when there is none, `busy` when the path does
/// not take more now, `unsupported` when the peer takes none.
pub(crate) fn send(node: &Node, peer: &NodeId, protocol: &Protocol, payload: &[u8]) -> Result<(), Failure> {
    let Some(link) = node.links.ready(peer) else {
        let text = format!(
            "no connection to {peer} stands, and datagrams make none: open a stream or make a call to it first, or wait \
             until it is up"
        );
        return Err(Failure::new(ErrorCode::Unreachable, text));
    };
    // Asked once and not waited for: quinn's other way would drop what other plugins have queued.
    let mut queued = pin!(link.connection.send_datagram_wait(encode(protocol, payload)));
    match queued.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => {
            link.sent.add(payload.len() as u64);
            Ok(())
        }
        Poll::Pending => {
            node.counters.datagrams_not_sent.count();
            Err(Failure::new(ErrorCode::Busy, "the path to the peer does not take more datagrams now: send fewer"))
        }
        Poll::Ready(Err(SendDatagramError::ConnectionLost(_))) => Err(link.why_closed()),
        Poll::Ready(Err(SendDatagramError::TooLarge)) => {
            node.counters.datagrams_not_sent.count();
            Err(Failure::new(ErrorCode::TooLarge, "packets on the path to the peer are too small for this datagram"))
        }
        Poll::Ready(Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled)) => {
            Err(Failure::new(ErrorCode::Unsupported, "the peer takes no datagrams"))
        }
    }
}

/// Hands what comes on a connection to plugins until it is closed.
pub(super) async fn run(node: Arc<Node>, link: Arc<Link>) {
    if link.ready().await.is_err() {
        return;
    }
    let mut bucket = Bucket::new(FROM_A_PEER);
    let mut taken = 0;
    while let Ok(bytes) = link.connection.read_datagram().await {
        taken += 1;
        if !bucket.take(Instant::now()) {
            node.counters.datagrams_over_rate.count();
            continue;
        }
        match decode(&bytes) {
            Ok((protocol, payload)) => {
                link.received.add(payload.len() as u64);
                datagrams::deliver(&node, link.peer, protocol, payload);
            }
            Err(error) => return link.misbehaved(&node, &error.to_string()),
        }
        tokio::task::coop::consume_budget().await;
    }
    // QUIC dropped the oldest ones itself where this task did not keep up.
    node.counters.datagrams_over_rate.add(link.connection.stats().frame_rx.datagram.saturating_sub(taken));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_reads_back_and_bad_ones_are_refused() {
        let protocol: Protocol = "voice/1".parse().unwrap();
        let bytes = encode(&protocol, b"hi");
        assert_eq!(decode(&bytes), Ok((protocol.clone(), Bytes::from_static(b"hi"))));
        assert_eq!(decode(&encode(&protocol, b"")), Ok((protocol.clone(), Bytes::new())));
        for bad in [&b""[..], b"\x07voice/", b"\x05voice", b"\x00hi", b"\x03\xff/1"] {
            assert_eq!(decode(&Bytes::copy_from_slice(bad)), Err(BadDatagram::Protocol), "{bad:?}");
        }
        let longest: Protocol = format!("{}/1", "x".repeat(MAX_PROTOCOL - 2)).parse().unwrap();
        let largest = encode(&longest, &[0; MAX_DATAGRAM]);
        assert!(decode(&largest).is_ok() && largest.len() == MAX_WIRE);
        let over = encode(&protocol, &[0; MAX_DATAGRAM + 1]);
        assert_eq!(decode(&over), Err(BadDatagram::TooLarge { length: MAX_DATAGRAM + 1 }));
    }
}
