//! Limits and rate limits for plugins, links and query connections, and netcore's timeouts, each with the reason for
//! its value. Limits that plugins see are in [`polypeer_ipc_protocol::limits`]; those between peers are also in
//! `PROTOCOL.md`; a limit that only one module uses is a constant beside its code.

use std::time::Duration;

use polypeer_engine::rate::Rate;
use polypeer_ipc_protocol::limits::{
    CLAIM_TIMEOUT, DEFAULT_TIMEOUT, FINISH_TIMEOUT, FIRST_FRAME_TIMEOUT, RESTART_HOLD,
};

use polypeer_engine::link::credit::MAX_WINDOW;

/// Streams and calls that one plugin may have open to one peer. A plugin that closes what it opens needs far fewer; at
/// 64 KiB each, a stuck plugin costs a peer 8 MiB.
pub const STREAMS_PER_PEER: usize = 128;
/// Streams and calls of one peer that one plugin may serve at once: as many as four of the peer's plugins may have
/// open, so that one of them that never closes any leaves places for the others.
pub const SERVED_PER_PEER: usize = 4 * STREAMS_PER_PEER;
/// Streams and calls that one plugin may have in all: as many as its data connections.
pub const STREAMS_PER_PLUGIN: usize = 1024;
/// Data connections of one launch: together with the control session and connections still opening, about the usual
/// limit on a process's open files.
pub const DATA_CONNECTIONS: usize = 1024;
/// Connections of one launch whose first frame has not arrived yet; more wait in the listener's backlog.
pub const OPENING_CONNECTIONS: usize = 32;
/// Largest first frame, bytes: a `Hello` or `Open` is under 2 KiB; the rest is for later kinds.
pub const MAX_OPENING: usize = 64 << 10;
/// Bytes of events that may wait for a plugin that does not read; events beyond it are refused or dropped.
pub const EVENT_BACKLOG: usize = 1 << 20;
/// Bytes of [`EVENT_BACKLOG`] beyond which datagrams are dropped: a plugin that falls behind loses datagrams, which are
/// unreliable anyhow, before it loses streams, calls and messages.
pub const DATAGRAM_BACKLOG: usize = 256 << 10;
/// Bytes of [`EVENT_BACKLOG`] beyond which gossip messages are dropped, so that a busy topic leaves room for streams
/// and calls.
pub const MESSAGE_BACKLOG: usize = 768 << 10;
/// Bytes of unread answers beyond which no further requests are read.
pub const RESPONSE_BACKLOG: usize = 256 << 10;
/// Streams and calls that wait for a restarting plugin to serve their protocol again, on the whole node.
pub const HELD: usize = 1024;
/// Bytes buffered between the two sides of a stream inside netcore, beyond which reading stops.
pub const SPLICE_BACKLOG: usize = 256 << 10;

/// Sum to which the windows of one plugin's streams may grow, bytes; one peer's windows take at most as much of it as
/// is free. A new stream gets its initial window even when others have used up the sum: at most [`STREAMS_PER_PLUGIN`]
/// of them, another 64 MiB.
pub const WINDOW_POOL: u64 = 64 << 20;
/// Receive window of a connection before the peer's `Hello`, and of an accepted query connection, bytes: two questions
/// of the largest size. With 256 of each kind 64 MiB.
pub const START_WINDOW: u32 = 128 << 10;
/// Receive window of a ready link, bytes: for calls, gossip and control, which are read as they arrive. 80 Mbit/s at
/// 100 ms; with 128 links 128 MiB.
pub const LINK_WINDOW: u64 = 1 << 20;
/// Bytes by which a link's receive window may grow beyond [`LINK_WINDOW`] for the streams of plugins: two of the
/// largest windows.
pub const LINK_BULK_WINDOW: u64 = 2 * MAX_WINDOW;
/// Budget of all links together for that growth, bytes. A link keeps its part until it ends, since QUIC cannot take
/// back what it has allowed. It is enough for streams at full speed on 16 links; each further link has only its
/// [`LINK_WINDOW`].
pub const RECEIVE_BUDGET: u64 = 128 << 20;
/// Send window of a connection: bytes in flight, which QUIC holds until the peer acknowledges them.
pub const LINK_SEND_WINDOW: u64 = 1 << 20;
/// Bytes by which a link's send window grows while a plugin's stream sends in bulk: a stream's largest window.
pub const BULK_SEND_WINDOW: u64 = MAX_WINDOW;
/// Budget of all links together for that growth, bytes.
pub const SEND_BUDGET: u64 = 128 << 20;
/// Bytes of incomplete payloads that each link may hold on its own: eight of the largest.
pub const LINK_PAYLOADS: u64 = 512 << 10;
/// Bytes of incomplete payloads that each query connection may hold on its own: two of the largest.
pub const QUERY_PAYLOADS: u64 = 128 << 10;
/// Budget of all connections together for incomplete payloads beyond that, bytes; payloads without room are refused.
pub const PAYLOAD_BUDGET: u64 = 16 << 20;
/// Bytes that each link may hold of streams that are not accepted yet: the first bytes of eight streams.
pub const LINK_EARLY: u64 = 512 << 10;
/// Budget of all links together for such bytes beyond that; streams without room are refused. Apart from that of
/// payloads, so that plugins which accept slowly leave room for calls to others.
pub const EARLY_BUDGET: u64 = 16 << 20;
/// Streams that a peer may open on one connection beyond those in use, so that a busy plugin never takes the last one.
pub const FREE_STREAMS: usize = 256;
/// Incoming streams of one connection whose header has not arrived yet: as many as may be open beyond those in use.
pub const HEADERLESS: usize = FREE_STREAMS;
/// Late headers of one connection before it is closed. An honest peer has far fewer; a dishonest one exceeds it with
/// the streams that it may have open at once.
pub const LATE_HEADERS: u64 = 128;
/// Rate limit for useless streams of a peer: refused, given up, or without a header. Accepted ones give their token
/// back. A program that tries which protocols are served opens only a few; a flood does not stop.
pub const STREAMS_FOR_NOTHING: Rate = Rate { burst: 2048, per_second: 256 };
/// Rate limit for the streams beyond that, which are refused unread; a peer that exceeds it is disconnected.
pub const STREAMS_REFUSED: Rate = Rate { burst: 2048, per_second: 32 };
/// Largest header of a stream between peers, bytes.
pub const MAX_HEADER: usize = 256;
/// Largest frame on the control stream between peers, bytes: 256 protocols of 88 bytes, and the other fields.
pub const MAX_PEER_FRAME: usize = 32 << 10;
/// Most protocols that a node lists to a peer as served.
pub const MAX_SERVING: usize = 256;
/// Most peers in one answer to a plugin; 1 MiB holds at least 40 with full lists.
pub const MAX_PEERS_LISTED: usize = 1024;
/// Streams of frames that a peer may have open on a link: one, and replaced ones that have not ended yet.
pub const FRAME_STREAMS: usize = 4;
/// Query connections that this node has open to others at once: as many questions as all its lookups have in flight.
pub const QUERY_CONNECTIONS_OUT: usize = 64;
/// Callers that may wait for the same query connection.
pub const QUERY_WAITERS: usize = 64;
/// Query connections from other nodes at once. At some 50 KiB each that is 13 MiB, and 32 MiB more while all of them
/// fill their windows; each is over in seconds.
pub const QUERY_CONNECTIONS_IN: usize = 256;
/// Query connections from one public IP (IPv6: /64), for the nodes of a household behind it.
pub const QUERY_CONNECTIONS_PER_HOST: usize = 8;
/// Query connections from one public subnet (/24, IPv6: /48).
pub const QUERY_CONNECTIONS_PER_SUBNET: usize = 32;
/// Query connections from one private IP, which may be a machine with many nodes.
pub const QUERY_CONNECTIONS_PER_PRIVATE_HOST: usize = 64;
/// How long a query connection may stand.
pub const QUERY_LIFETIME: Duration = Duration::from_secs(30);
/// How long a query connection may be unused.
pub const QUERY_IDLE: Duration = Duration::from_secs(10);
/// Concurrent questions on one query connection.
pub const QUERY_STREAMS: u32 = 16;
/// Timeout for answering one question.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Events that may wait for the supervisor.
pub const ADMIN_EVENTS: usize = 4096;
/// Admin requests in progress; the next is answered `busy`.
pub const ADMIN_REQUESTS: usize = 64;

/// Timeouts that tests can shorten.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// For the first frame of a gateway connection to arrive.
    pub first_frame: Duration,
    /// For the plugin to claim an announced stream.
    pub claim: Duration,
    /// For a restarting plugin to serve its protocol again; streams for it wait that long.
    pub hold: Duration,
    /// For the header of a stream between peers, or a peer's `Hello`, to arrive.
    pub header: Duration,
    /// For the last frames to be sent when netcore closes a connection.
    pub linger: Duration,
    /// For a plugin to end its direction of a stream that is over for the other side, and to take the codes for it.
    pub finish: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            first_frame: FIRST_FRAME_TIMEOUT,
            claim: CLAIM_TIMEOUT,
            hold: RESTART_HOLD,
            header: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            finish: FINISH_TIMEOUT,
        }
    }
}

/// The timeout of a request, from its `timeout_ms`; 0 means the default.
pub(crate) fn timeout_of(timeout_ms: u32) -> Duration {
    if timeout_ms == 0 { DEFAULT_TIMEOUT } else { Duration::from_millis(timeout_ms.into()) }
}
