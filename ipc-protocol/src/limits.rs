//! Every size the gateway protocol fixes, in one place. A change here is a change of `SPEC.md`.

use std::time::Duration;

/// The version of the gateway protocol this crate speaks.
pub const VERSION: u32 = 1;
/// Largest body of a control or admin frame, bytes. Big enough for a full list of peers, small enough to buffer.
pub const MAX_FRAME: usize = 1 << 20;
/// Largest body of the first frame on a connection, bytes: a `Hello` or `Open` is under 2 KiB; room for later kinds.
pub const MAX_OPENING: usize = 64 << 10;
/// Largest payload of one data frame, bytes: a receiver needs one buffer of this size and no more.
pub const MAX_DATA: usize = 256 << 10;
/// Largest request or reply payload, bytes. More than this belongs on a stream.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// Requests one session may have in flight (all kinds together); the next is answered `busy`.
pub const MAX_REQUESTS: usize = 256;
/// Calls from peers waiting for one session's answer; the next is answered `busy` to the peer.
pub const MAX_CALLS: usize = 256;
/// Streams announced to a session and not yet claimed.
pub const MAX_UNCLAIMED: usize = 128;
/// Protocols one session may listen on.
pub const MAX_LISTENERS: usize = 64;
/// Versions a `Hello` may offer.
pub const MAX_VERSIONS: usize = 32;
/// Length of a protocol name, bytes.
pub const MAX_PROTOCOL: usize = 80;
/// Length of the name of a topic or record, bytes.
pub const MAX_NAME: usize = 128;
/// Largest value of a DHT record, bytes: with key, name and signature it stays below what three packets carry.
pub const MAX_VALUE: usize = 3072;
/// Longest life of a DHT record without being put again, seconds: 24 hours.
pub const MAX_RECORD_LIFETIME: u32 = 24 * 3600;
/// Largest gossip message, bytes.
pub const MAX_GOSSIP: usize = 64 << 10;
/// Topics one session may be subscribed to.
pub const MAX_TOPICS: usize = 64;
/// Gossip messages waiting for one session's verdict; the oldest is then ignored.
pub const MAX_UNJUDGED: usize = 256;
/// How long netcore waits for a plugin's verdict on a gossip message; then it is ignored.
pub const JUDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Names one plugin may provide at once.
pub const MAX_PROVIDED: usize = 256;
/// Providers in one answer.
pub const MAX_PROVIDERS: usize = 64;
/// Largest datagram between plugins, bytes: fits in one packet of the smallest path (1,200 bytes) with its headers.
pub const MAX_DATAGRAM: usize = 1024;
/// Length of an error's text, bytes; longer text is cut by the sender.
pub const MAX_MESSAGE: usize = 1024;
/// Length of a ticket, bytes.
pub const MAX_TICKET: usize = 1024;
/// Addresses in a ticket.
pub const MAX_TICKET_ADDRESSES: usize = 16;
/// A connection whose first frame has not arrived whole by then is closed.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// An announced stream nobody claims is refused to its opener after this long.
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);
/// How long streams and calls wait for a protocol that was served a moment ago (a session that reconnects).
pub const RESTART_HOLD: Duration = Duration::from_secs(3);
/// What `timeout_ms: 0` means.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
