//! Every number of the hash table, with its reason. Those between nodes are also in `PROTOCOL.md`, section 10.

use std::time::Duration;

use super::diversity::Caps;
use crate::rate::Rate;

/// Contacts of a bucket, nodes that keep a record, contacts in an answer: that all 20 leave within an hour, while half of
/// the network does, happens once in a million (Maymounkov and Mazières 2002).
pub const K: usize = 20;
/// Longest question or answer, bytes: the limit of calls between peers.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Providers of one key, and so in one answer: all that fit, at up to 400 bytes, in half of a message.
pub const MAX_PROVIDERS_OF_KEY: usize = 64;

// The table.

/// Of the whole table, whoever has one network gets at most eight places of about two hundred; one household two.
pub(super) const PER_TABLE: Caps = Caps { per_ip: 2, per_subnet: 8 };
/// Of a bucket, a tenth: so that no range of keys is seen through one network alone.
pub(super) const PER_BUCKET: Caps = Caps { per_ip: 1, per_subnet: 2 };
/// Of the nodes that a path of a lookup asks and that do not fail, of those that one answer tells, and of those that a lookup
/// ends with.
pub(super) const PER_LOOKUP: Caps = Caps { per_ip: 1, per_subnet: 2 };
/// Of the nodes that a path knows of. Anybody may claim any network, so that it takes three who tell of claimants until the
/// path hears of nobody who is really there.
pub(super) const PER_SHORTLIST: Caps = Caps { per_ip: 3, per_subnet: 6 };
/// Nodes kept in mind for a bucket: replacements for as many as leave between two looks into it.
pub(super) const MAX_SPARES: usize = 8;
/// Calls that fail in a row until a contact is forgotten although nobody takes its place: a lost packet or a restart is
/// no reason, an hour's absence is.
pub(super) const FORGET_AFTER: u8 = 3;
/// Calls that fail in a row, of different contacts, until this node believes that it is cut off itself and stops counting.
pub(super) const CUT_OFF: u32 = 16;
/// Nodes waiting to be called for the first time; further ones are dropped and counted. A join learns of about as many.
pub(super) const MAX_CANDIDATES: usize = 64;
/// Of these, as many as one public network of bringers may have waiting: a quarter of them, most of what one answer tells.
pub(super) const CANDIDATES_PER_SUBNET: usize = 16;
/// First calls that came to nothing, of nodes that one public network brought, after which no more of its are called: at once, and
/// seconds until one is forgotten. Where half of all nodes leave each hour, a third of those that an honest node brings are gone.
pub(super) const WASTED_BURST: u32 = 16;
/// See [`WASTED_BURST`].
pub(super) const WASTED_EVERY: u32 = 15;
/// Nodes met otherwise than through contacts: as many as a node has peers.
pub(super) const MAX_MET: usize = 32;
/// Of these, met in one public network, as their connections prove.
pub(super) const MET_PER_SUBNET: usize = 2;
/// Of these, as many as a lookup begins at: with a quarter of them lying, not all of those of a path do.
pub(super) const MET_SEEDS: usize = 8;
/// First calls and checks in flight: they must not take the places of lookups.
pub(super) const MAX_CHECKS: usize = 4;
/// A contact that was silent for this long is checked before it makes a new one wait, seconds.
pub(super) const CHECK_SILENT: u32 = 900;
/// A contact that was silent for this long is checked anyway, seconds: half of a churn of 50 % an hour is noticed in time.
pub(super) const CHECK_ANYWAY: u32 = 1800;
/// A bucket with fewer sound contacts takes the nodes that answers mention, not only those that were asked.
pub(super) const SPARSE_BUCKET: usize = K / 2;
/// A bucket with fewer sound contacts is looked into as soon as a node has joined; others fill with those who ask this node.
pub(super) const THIN_BUCKET: usize = K / 4;

// Lookups.

/// Paths of a lookup that share no queried node: with a fifth of the nodes lying, one path in two meets none of them on
/// its three or four steps (S/Kademlia, Baumgart and Mies 2007, section 4.4).
pub(super) const PATHS: usize = 3;
/// Paths of a lookup in all, with those begun when the first found nothing or too little.
pub(super) const MAX_PATHS: usize = 8;
/// Nodes a path keeps in mind: the `K` it wants, and as many in case those fail.
pub(super) const SHORTLIST: usize = 2 * K;
/// Nodes one lookup may ask: five times what it takes among a hundred thousand honest nodes.
pub(super) const MAX_ASKED: usize = 120;
/// Calls of one lookup in flight, with those that are slow.
pub(super) const MAX_LOOKUP_CALLS: usize = 10;
/// The closest nodes that must have answered before records are put: each of them knows the 20 closest.
pub(super) const DEPTH_PUT: usize = 8;
/// The closest nodes that must have answered before nothing is found: all that would keep it.
pub(super) const DEPTH_GET: usize = K;
/// The closest nodes that must have answered to know a range of keys that is only looked into.
pub(super) const DEPTH_REFRESH: usize = 2;
/// A teller this many of whose nodes failed, and twice as many as answered, is not followed any more.
pub(super) const MISLED: u8 = 3;
/// A lookup that ends where nodes are so many times rarer than around this node has been led astray: where one in five
/// nodes lies, those among themselves are five times rarer.
pub(super) const TOO_SPARSE: f64 = 2.5;
/// Nodes that must have told a signed record before the newest of theirs is the answer, and providers before those are.
pub(super) const QUORUM: usize = 4;
/// Nodes that get what they should have had, after a record was found: the closest that asked for nothing better.
pub(super) const REPAIRS: usize = 1;
/// Life of a copy that a node keeps for speed, seconds.
pub(super) const CACHED_LEFT: u32 = 1800;
/// Records a lookup's results are put to at once.
pub(super) const PARALLEL_PUTS: usize = 5;
/// Nodes a record is offered to until [`K`] have taken it.
pub(super) const MAX_PUT_TRIES: usize = 2 * K;

/// Jobs of this node and its plugins in progress; the next is refused.
pub const MAX_QUERIES: usize = 256;
/// How soon a node looks up its own neighbourhood again that it has just learned much of.
pub(super) const JOIN_AGAIN: Duration = Duration::from_secs(30);
/// Lookups for this node's own upkeep in progress.
pub(super) const MAX_UPKEEP: usize = 3;
/// Calls in flight; lookups wait for a place.
pub const MAX_CALLS: usize = 64;
/// After this long without an answer a call no longer holds up its path: slower than nearly all honest round trips with a
/// handshake.
pub const SLOW: Duration = Duration::from_millis(1500);
/// After this long a call has failed, whatever the driver says.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// After this long a job ends with what it has.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Reports of lies not yet taken by the driver; further ones are dropped and counted.
pub(super) const MAX_REPORTS: usize = 64;

// Records of others.

/// Records kept, and their bytes: what a small machine can spare.
pub(super) const MAX_RECORDS: usize = 8192;
/// See [`MAX_RECORDS`].
pub(super) const MAX_RECORD_BYTES: usize = 16 << 20;
/// Of these one node may take a sixteenth, and all of one network an eighth.
pub(super) const NODE_RECORDS: usize = MAX_RECORDS / 16;
/// See [`NODE_RECORDS`].
pub(super) const NODE_BYTES: usize = MAX_RECORD_BYTES / 16;
/// See [`NODE_RECORDS`].
pub(super) const SUBNET_RECORDS: usize = MAX_RECORDS / 8;
/// See [`NODE_RECORDS`].
pub(super) const SUBNET_BYTES: usize = MAX_RECORD_BYTES / 8;
/// Of these, what nodes pass on for others may take a half: the other half is for what they bring for themselves.
pub(super) const PASSED_RECORDS: usize = MAX_RECORDS / 2;
/// See [`PASSED_RECORDS`].
pub(super) const PASSED_BYTES: usize = MAX_RECORD_BYTES / 2;
/// Of what is passed on, an eighth by one node, and by all of one network: a newcomer is handed what it is to keep by a few
/// neighbours.
pub(super) const BRINGER_RECORDS: usize = PASSED_RECORDS / 8;
/// See [`BRINGER_RECORDS`].
pub(super) const BRINGER_BYTES: usize = PASSED_BYTES / 8;
/// How much longer a record may be kept for who passes it on, as seconds get lost on the way. Who makes it last longer than
/// that pays for it.
pub(super) const PASSED_LATER: u32 = 60;
/// Entries in lists of providers.
pub(super) const MAX_PROVIDERS: usize = 8192;
/// Of these one node may take a sixteenth, and all of one network an eighth.
pub(super) const NODE_PROVIDED: usize = MAX_PROVIDERS / 16;
/// See [`NODE_PROVIDED`].
pub(super) const SUBNET_PROVIDED: usize = MAX_PROVIDERS / 8;
/// Providers of one key from one public network: the list is for finding different ones.
pub(super) const PROVIDERS_PER_SUBNET: usize = 4;
/// A node that knows this many that are closer to a key keeps no record for it: nobody would look for it there.
pub(super) const TOO_FAR: usize = 2 * K;

// Questions of others.

/// Questions of one node.
pub(super) const NODE_RATE: Rate = Rate { burst: 200, per_second: 20 };
/// Questions of all nodes of one public network.
pub(super) const SUBNET_RATE: Rate = Rate { burst: 600, per_second: 60 };
/// What keeping something costs of these: a signature to check, and a handshake's worth of work.
pub(super) const PUT_COST: usize = 2;
/// Askers remembered for these; beyond, all further ones share one allowance.
pub(super) const MAX_ASKERS: usize = 4096;

// This node's own.

/// Records of this node's plugins that it puts again by itself; a further one is refused, and counted. With as many keys to
/// provide, it takes half of what `MAX_UPKEEP` lookups of three seconds do in an hour.
pub const MAX_OWN_RECORDS: usize = 1024;
/// Keys this node provides.
pub const MAX_OWN_PROVIDED: usize = 1024;
/// How long a provider is listed, seconds: longer than two times of putting it again.
pub(super) const PROVIDED_FOR: u64 = 5400;
/// How often it is put again.
pub(super) const PROVIDE_EVERY: u32 = 2400;
/// When to try again what nobody took, seconds; twice as long after each further failure.
pub(super) const RETRY: u32 = 60;
/// At most this long: as often as what is listed is listed again.
pub(super) const RETRY_MOST: u32 = PROVIDE_EVERY;
/// Records waiting to be handed to a node that came closer to them; further ones are left to republishing, and counted.
pub(super) const MAX_HANDOVERS: usize = 256;
/// Records put again for others at a [`TICK`], once those before have been.
pub(super) const REPUBLISHED_AT_ONCE: usize = 16;
/// How often upkeep looks for what is due.
pub const TICK: Duration = Duration::from_secs(20);
/// What may wait to be said before no further jobs are begun: an answer for each, and all calls and reports.
pub(super) const MAX_OUTPUTS: usize = MAX_QUERIES + 2 * MAX_CALLS + MAX_REPORTS;
