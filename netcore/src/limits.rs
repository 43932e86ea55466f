//! Limits of what plugins, links and query connections may hold and how fast they may go, and the timeouts of netcore, each
//! with the reason for its value. Those of the contract with plugins are in [`polypeer_ipc_protocol::limits`], those between
//! peers also in `PROTOCOL.md`; what a single module bounds is a constant beside its code.

use std::time::Duration;

use polypeer_engine::rate::Rate;
use polypeer_ipc_protocol::limits::{CLAIM_TIMEOUT, DEFAULT_TIMEOUT, FIRST_FRAME_TIMEOUT, RESTART_HOLD};

use polypeer_engine::link::credit::MAX_WINDOW;

/// Streams and calls one plugin may have open to one peer: far more than a program needs that closes what it opens, and
/// at 64 KiB each a stuck plugin costs a peer 8 MiB.
pub const STREAMS_PER_PEER: usize = 128;
/// Streams and calls of one peer that one plugin may be serving: what four of the peer's plugins may have open, so that
/// one of them that never lets go does not take the others' places.
pub const SERVED_PER_PEER: usize = 4 * STREAMS_PER_PEER;
/// Streams and calls one plugin may have in all: as many as its data connections.
pub const STREAMS_PER_PLUGIN: usize = 1024;
/// Data connections of one launch: with the control session's and those still opening, about one process's usual
/// allowance of open files.
pub const DATA_CONNECTIONS: usize = 1024;
/// Connections of one launch whose first frame is not there yet; more wait in the listener's backlog.
pub const OPENING_CONNECTIONS: usize = 32;
/// Largest first frame: a `Hello` or `Open` is under 2 KiB; room for later kinds.
pub const MAX_OPENING: usize = 64 << 10;
/// Bytes of events that may wait for a plugin that does not read; what does not fit is refused or dropped.
pub const EVENT_BACKLOG: usize = 1 << 20;
/// Of those, the bytes that may be waiting when a datagram is added: a plugin that falls behind loses datagrams, which may
/// be lost anyhow, before it loses streams, calls and messages.
pub const DATAGRAM_BACKLOG: usize = 256 << 10;
/// Of those, the bytes that may be waiting when a gossip message is added, so that a busy topic leaves room for streams and
/// calls.
pub const MESSAGE_BACKLOG: usize = 768 << 10;
/// Bytes of unread answers from which on no further requests are read.
pub const RESPONSE_BACKLOG: usize = 256 << 10;
/// Streams and calls that wait for a listener to come back, on the whole node.
pub const HELD: usize = 1024;
/// Bytes on the way from one half of a stream to the other inside netcore, beyond which reading stops.
pub const SPLICE_BACKLOG: usize = 256 << 10;

/// Sum of the windows one plugin's streams may grow to. A new stream has its initial window even where others have grown
/// to all of it: at most [`STREAMS_PER_PLUGIN`] of those, another 64 MiB.
pub const WINDOW_POOL: u64 = 64 << 20;
/// Unread bytes that QUIC may hold of a connection that has not settled, and of a query connection: the first words, two
/// questions of the largest size. With 256 of each kind 64 MiB.
pub const START_WINDOW: u32 = 128 << 10;
/// The same of a link that is ready: calls, gossip and control, which are read as they come. 80 Mbit/s at 100 ms; with 128
/// links 128 MiB.
pub const LINK_WINDOW: u64 = 1 << 20;
/// What a link gets beyond [`LINK_WINDOW`] as the streams of plugins on it are granted more: two of the largest windows.
pub const LINK_BULK_WINDOW: u64 = 2 * MAX_WINDOW;
/// That of all links together. A link keeps what it got until it ends, since QUIC cannot take back what it allowed; 16 links
/// have streams at full speed, those that come after them share [`LINK_WINDOW`].
pub const RECEIVE_BUDGET: u64 = 128 << 20;
/// Bytes sent on a connection that the peer has not acknowledged yet, which QUIC holds.
pub const LINK_SEND_WINDOW: u64 = 1 << 20;
/// What a link gets beyond it while a stream of a plugin sends more than that: a stream's largest window.
pub const BULK_SEND_WINDOW: u64 = MAX_WINDOW;
/// That of all links together.
pub const SEND_BUDGET: u64 = 128 << 20;
/// Bytes of payloads of one link that are not there whole: eight of the largest.
pub const LINK_PAYLOADS: u64 = 512 << 10;
/// The same of one query connection: two.
pub const QUERY_PAYLOADS: u64 = 128 << 10;
/// Those beyond, of all connections together; what finds no room is refused.
pub const PAYLOAD_BUDGET: u64 = 16 << 20;
/// Streams of one connection that a peer may open beyond those in use, so that a busy plugin never takes the last one.
pub const FREE_STREAMS: usize = 256;
/// Incoming streams of one connection whose header is not there yet: as many as may be open beyond those in use.
pub const HEADERLESS: usize = FREE_STREAMS;
/// Headers of one connection that may fail to arrive in time before it is closed: no honest peer comes near, and one that
/// is not reaches it with the streams it may have open at once.
pub const LATE_HEADERS: u64 = 128;
/// Streams a peer may open that come to nothing (refused, given up, never a header); those that somebody took are not
/// counted. A program that finds out what is served asks a few times; a flood does not stop.
pub const STREAMS_FOR_NOTHING: Rate = Rate { burst: 2048, per_second: 256 };
/// Streams beyond that are refused unseen, so many; a peer that goes on is cut off.
pub const STREAMS_REFUSED: Rate = Rate { burst: 2048, per_second: 32 };
/// Largest header of a stream between peers, bytes.
pub const MAX_HEADER: usize = 256;
/// Largest frame on the control stream between peers, bytes: 256 protocols of 88 bytes and their company.
pub const MAX_PEER_FRAME: usize = 32 << 10;
/// Protocols a node tells a peer that it serves.
pub const MAX_SERVING: usize = 256;
/// Peers in one answer to a plugin; 1 MiB holds at least 40 with full lists.
pub const MAX_PEERS_LISTED: usize = 1024;
/// Streams of frames one peer may have open on a link: one, and those it replaced that have not ended yet.
pub const FRAME_STREAMS: usize = 4;
/// Query connections this node has open to others at once: what all its lookups have in flight.
pub const QUERY_CONNECTIONS_OUT: usize = 64;
/// Callers waiting for the same one.
pub const QUERY_WAITERS: usize = 64;
/// Query connections others have to this node at once. At some 50 KiB that is 13 MiB, and 32 MiB more while all of them fill
/// their windows; each is over in seconds.
pub const QUERY_CONNECTIONS_IN: usize = 256;
/// Those of one public IP (IPv6: /64) among them, for the nodes of a household behind it.
pub const QUERY_CONNECTIONS_PER_HOST: usize = 8;
/// Those of one public subnet (/24, IPv6: /48).
pub const QUERY_CONNECTIONS_PER_SUBNET: usize = 32;
/// Those of one IP of a private network, which may be a machine with many nodes.
pub const QUERY_CONNECTIONS_PER_PRIVATE_HOST: usize = 64;
/// How long a query connection may stand, and be unused.
pub const QUERY_LIFETIME: Duration = Duration::from_secs(30);
/// See [`QUERY_LIFETIME`].
pub const QUERY_IDLE: Duration = Duration::from_secs(10);
/// Questions at once on one query connection.
pub const QUERY_STREAMS: u32 = 16;
/// For answering one question.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Events waiting for the supervisor.
pub const ADMIN_EVENTS: usize = 4096;
/// Admin requests in progress; the next is answered `busy`.
pub const ADMIN_REQUESTS: usize = 64;

/// The waiting times, apart so that tests can shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// For the first frame of a gateway connection.
    pub first_frame: Duration,
    /// For an announced stream to be claimed.
    pub claim: Duration,
    /// For a protocol that was served a moment ago.
    pub hold: Duration,
    /// For the header of a stream between peers, and for a peer's `Hello`.
    pub header: Duration,
    /// For a connection's last frames to leave when netcore ends it.
    pub linger: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            first_frame: FIRST_FRAME_TIMEOUT,
            claim: CLAIM_TIMEOUT,
            hold: RESTART_HOLD,
            header: Duration::from_secs(10),
            linger: Duration::from_secs(1),
        }
    }
}

/// The timeout that `timeout_ms` of a request means: 0 is the default.
pub(crate) fn timeout_of(timeout_ms: u32) -> Duration {
    if timeout_ms == 0 { DEFAULT_TIMEOUT } else { Duration::from_millis(timeout_ms.into()) }
}
