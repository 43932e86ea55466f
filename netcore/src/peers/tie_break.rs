//! The exchange of the tie-break on a new connection ([`polypeer_engine::peers::table`] has the rule).
//!
//! It uses the connection's first bidirectional stream, which the dialer opens. Neither side reads anything else
//! before:
//!
//! ```text
//! dialer   → acceptor   tag of the dialer, u64 little-endian
//! acceptor → dialer     tag of the acceptor, u64 little-endian
//! decider  → follower   01, once both tags are known and it keeps the connection
//! ```
//! Then both sides finish the stream. The decider refuses a connection by closing it with `superseded`; either side may
//! refuse with `blocked`, `busy`, `peer misbehaved` or `shutting down` at any time. For the decider a connection is
//! established when it has written the 01, for the follower when it has read it.

use std::time::Duration;

use polypeer_engine::peers::dial_error::DialError;
use quinn::{ReadExactError, RecvStream, SendStream, WriteError};

use crate::transport::dial_error;

/// Timeout of the whole exchange: two round trips and some lost packets.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// How long to wait for the connection's close, which names the reason, after its stream ended too early: the two may
/// arrive apart.
const REASON: Duration = Duration::from_secs(1);
/// The byte by which the decider keeps a connection.
const KEPT: u8 = 1;

/// The side of a connection that this node is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

/// Exchanges tags and returns whether the connection is kept. On the deciding side (`decider`, the smaller id) `decide`
/// is called with the peer's tag, before the peer is told. On the other side it is called once the peer keeps the
/// connection.
pub(super) async fn settle(
    connection: &quinn::Connection,
    side: Side,
    decider: bool,
    tag: u64,
    decide: impl FnOnce(u64) -> bool,
) -> Result<bool, DialError> {
    let (mut send, mut recv) = match side {
        Side::Dialer => connection.open_bi().await.map_err(dial_error)?,
        Side::Acceptor => connection.accept_bi().await.map_err(dial_error)?,
    };
    // The stream exists for the acceptor only once the dialer has written.
    if side == Side::Dialer {
        write(&mut send, &tag.to_le_bytes()).await?;
    }
    let mut peer_tag = [0; 8];
    read(connection, &mut recv, &mut peer_tag).await?;
    let peer_tag = u64::from_le_bytes(peer_tag);
    if side == Side::Acceptor {
        write(&mut send, &tag.to_le_bytes()).await?;
    }
    let kept = if decider {
        let kept = decide(peer_tag);
        if kept {
            write(&mut send, &[KEPT]).await?;
        }
        kept
    } else {
        let mut word = [0];
        read(connection, &mut recv, &mut word).await?;
        if word != [KEPT] {
            return Err(DialError::OtherProtocol { reason: "it neither kept nor closed the connection".into() });
        }
        decide(peer_tag)
    };
    // Fails only if the connection has ended, which its next user notices.
    send.finish().ok();
    if kept {
        // Dropped before the peer's end has arrived, the stream would be stopped, and the peer's end be an error there.
        tokio::spawn(async move { tokio::time::timeout(LIMIT, recv.read_chunk(1, true)).await });
    }
    Ok(kept)
}

async fn write(send: &mut SendStream, bytes: &[u8]) -> Result<(), DialError> {
    send.write_all(bytes).await.map_err(|error| match error {
        WriteError::ConnectionLost(error) => dial_error(error),
        other => DialError::OtherProtocol { reason: other.to_string() },
    })
}

async fn read(connection: &quinn::Connection, recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), DialError> {
    let reason = match recv.read_exact(bytes).await {
        Ok(()) => return Ok(()),
        Err(ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error))) => return Err(dial_error(error)),
        Err(other) => other.to_string(),
    };
    // A peer that refuses drops the stream, which ends it, and then closes the connection.
    match tokio::time::timeout(REASON, connection.closed()).await {
        Ok(error) => Err(dial_error(error)),
        Err(_) => Err(DialError::OtherProtocol { reason }),
    }
}
