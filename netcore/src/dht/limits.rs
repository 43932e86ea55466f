//! Every number of the hash table, with its reason. Those between nodes are also in `PROTOCOL.md`, section 10.

use std::time::Duration;

/// Contacts of a bucket, nodes that keep a record, contacts in an answer: that all 20 leave within an hour, while half of
/// the network does, happens once in a million (Maymounkov and Mazières 2002).
pub const K: usize = 20;
/// Longest question or answer, bytes: the limit of calls between peers.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Providers in one answer: all that fit, at up to 400 bytes, in half of a message.
pub const MAX_ANSWERED_PROVIDERS: usize = 64;

/// Paths of a lookup that share no queried node: with a fifth of the nodes lying, one path in two meets none of them on
/// its three or four steps, so that all of three fail at one lookup in ten at worst, and only as long as nobody on them
/// tells of another way (S/Kademlia, Baumgart and Mies 2007, section 4.4).
pub const PATHS: usize = 3;
/// Jobs of this node's plugins and own work in progress; the next is refused.
pub const MAX_QUERIES: usize = 256;
/// Calls in flight; lookups wait for a place.
pub const MAX_CALLS: usize = 64;
/// After this long without an answer a call no longer holds up its path: slower than nearly all honest round trips with a
/// handshake.
pub const SLOW: Duration = Duration::from_millis(1500);
/// After this long a call has failed, whatever the driver says.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// After this long a job ends with what it has.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
