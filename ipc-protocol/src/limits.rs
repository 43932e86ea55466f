//! Sizes and times that the gateway protocol fixes. Section 13 of `SPEC.md` lists them; `make generate` keeps it up to
//! date.

use std::time::Duration;

/// The version of the gateway protocol this crate speaks.
pub const VERSION: u32 = 1;
/// Largest body of a control or admin frame, bytes: enough for a full list of peers, small enough to buffer.
pub const MAX_FRAME: usize = 1 << 20;
/// Largest body of the first frame on a connection, bytes. A `Hello` or `Open` is under 2 KiB; the rest is for later
/// kinds.
pub const MAX_OPENING: usize = 64 << 10;
/// Largest payload of a data frame, bytes: the size of the one buffer that a receiver needs.
pub const MAX_DATA: usize = 256 << 10;
/// Largest payload of a call or reply, bytes. Larger ones belong on a stream.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// Requests of one session in flight, all kinds together; the next one fails with `busy`.
pub const MAX_REQUESTS: usize = 256;
/// Pending calls to one session; the next one fails with `busy` at the caller.
pub const MAX_CALLS: usize = 256;
/// Unclaimed streams of one session.
pub const MAX_UNCLAIMED: usize = 128;
/// Data connections of one launch that wait for their next opening, and those of one session that wait for the next
/// stream: as many of each as a busy plugin has in flight. Further ones are closed, or refused with `busy`.
pub const MAX_IDLE_CONNECTIONS: usize = 64;
/// Protocols that one session listens on.
pub const MAX_LISTENERS: usize = 64;
/// Versions in a `Hello`.
pub const MAX_VERSIONS: usize = 32;
/// Longest protocol or pattern, bytes.
pub const MAX_PROTOCOL: usize = 80;
/// Longest name of a topic or record, bytes.
pub const MAX_NAME: usize = 128;
/// Largest value of a DHT record, bytes: with key, name and signature it fits in three packets.
pub const MAX_VALUE: usize = 3072;
/// Longest time until a DHT record expires, seconds: 24 hours.
pub const MAX_RECORD_LIFETIME: u32 = 24 * 3600;
/// Largest gossip message, bytes.
pub const MAX_GOSSIP: usize = 64 << 10;
/// Subscriptions of one session.
pub const MAX_TOPICS: usize = 64;
/// Gossip messages pending one session's verdict; beyond it the oldest gets the verdict `Ignore`.
pub const MAX_UNJUDGED: usize = 256;
/// Deadline of a plugin's verdict on a gossip message; then the verdict is `Ignore`.
pub const JUDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that one plugin provides at a time.
pub const MAX_PROVIDED: usize = 256;
/// Providers in one answer.
pub const MAX_PROVIDERS: usize = 64;
/// Largest datagram between plugins, bytes: with its headers it fits in a packet of the smallest path (1,200 bytes).
pub const MAX_DATAGRAM: usize = 1024;
/// Longest text of a failure, bytes; the sender cuts longer ones.
pub const MAX_MESSAGE: usize = 1024;
/// Longest ticket, bytes.
pub const MAX_TICKET: usize = 1024;
/// Addresses in a ticket.
pub const MAX_TICKET_ADDRESSES: usize = 16;
/// Deadline of a connection's first frame; then the connection is closed.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Deadline of claiming an announced stream; then its opener sees `timed out`.
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline of a plugin's own end of a stream that is over for the other side, and of taking the codes that say so;
/// then the data connection is closed.
pub const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long streams and calls wait for a protocol whose session has just ended and may reconnect.
pub const RESTART_HOLD: Duration = Duration::from_secs(3);
/// The timeout that `timeout_ms: 0` stands for.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
