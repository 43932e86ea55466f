//! Every constant of the DHT, with its unit and its reason. Those that other nodes rely on are also in `PROTOCOL.md`,
//! section 10; what a larger or smaller value does is in `docs/decisions/2026-11-29-dht.md`.
//!
//! "Subnet" is the /24 of a public IPv4 address or the /48 of a public IPv6 address.

use std::time::Duration;

use super::diversity::Caps;
use crate::rate::Rate;

/// Contacts in a bucket, holders of a record, and contacts in an answer. All 20 holders leave within an hour with
/// probability 2^-20 if half of the network does (Maymounkov and Mazières 2002).
pub const K: usize = 20;
/// Longest question or answer, bytes: as for calls between peers.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Providers listed under one key, and so in one answer: 64 of up to 400 bytes fit in half of a message.
pub const MAX_PROVIDERS_OF_KEY: usize = 64;

// The routing table.

/// Contacts in the whole table, per public IP address (one household) and per subnet: 8 of about 200.
pub(super) const PER_TABLE: Caps = Caps { per_ip: 2, per_subnet: 8 };
/// Contacts in a bucket, per IP address and subnet: a tenth, so that no range of keys is seen through one subnet alone.
pub(super) const PER_BUCKET: Caps = Caps { per_ip: 1, per_subnet: 2 };
/// Nodes, per IP address and subnet, that a path of a lookup asks and that do not fail; also nodes taken from one
/// answer, and nodes in the result.
pub(super) const PER_LOOKUP: Caps = Caps { per_ip: 1, per_subnet: 2 };
/// Nodes in a path's shortlist, per IP address and subnet. Anybody can claim an address in any subnet: with 6 places
/// and 2 from each answer, it takes three answers with claimants until the path hears of no real node there.
pub(super) const PER_SHORTLIST: Caps = Caps { per_ip: 3, per_subnet: 6 };
/// Spares of a bucket: they replace as many contacts as leave between two refreshes.
pub(super) const MAX_SPARES: usize = 8;
/// Failed calls in a row after which a contact is removed although nobody takes its place. A lost packet or a restart
/// costs no contact; an hour's absence does.
pub(super) const FORGET_AFTER: u8 = 3;
/// Failed calls in a row, to any nodes, after which no failure counts: this node takes itself to be offline, and must
/// not empty its table.
pub(super) const CUT_OFF: u32 = 16;
/// Nodes that wait for their first call; further ones are dropped and counted. A join learns of about as many.
pub(super) const MAX_CANDIDATES: usize = 64;
/// Of these, nodes introduced by one subnet: a quarter of all, and most of one answer.
pub(super) const CANDIDATES_PER_SUBNET: usize = 16;
/// First calls that may fail at once, of nodes that one subnet introduced; beyond that none of its nodes is called.
/// This bounds the packets that a record with others' addresses causes there. Where half of all nodes leave each hour,
/// a third of those that an honest node introduces are gone.
pub(super) const WASTED_BURST: u32 = 16;
/// Seconds until one more of these first calls may fail.
pub(super) const WASTED_EVERY: u32 = 15;
/// Peers remembered that sent their own record: about as many as a node has links.
pub(super) const MAX_MET: usize = 32;
/// Of these, peers of one subnet, as their connections proved.
pub(super) const MET_PER_SUBNET: usize = 2;
/// Of these, peers that one lookup starts at. With a quarter of them lying, all four of a path lie with probability
/// 0.25^4, 0.4 %.
pub(super) const MET_SEEDS: usize = 8;
/// First calls, checks and handovers in flight: upkeep must not take the calls of lookups.
pub(super) const MAX_CHECKS: usize = 4;
/// Seconds of silence after which the stalest contact of a full bucket is called when a new node would like its place.
pub(super) const CHECK_SILENT: u32 = 900;
/// Seconds of silence after which a contact is called anyway: half of a churn of 50 % an hour is noticed in time.
pub(super) const CHECK_ANYWAY: u32 = 1800;
/// Sound contacts of a bucket (the last call did not fail) below which this node also calls nodes that it only heard
/// of. Half of a bucket.
pub(super) const SPARSE_BUCKET: usize = K / 2;
/// Sound contacts of a bucket below which a node looks into it right after joining: a quarter. Fuller buckets fill with
/// the nodes that ask this one.
pub(super) const THIN_BUCKET: usize = K / 4;

// Lookups.

/// Paths of a lookup, which share no queried node. With a fifth of the nodes lying, one path in two meets no liar on
/// its three or four steps (S/Kademlia, Baumgart and Mies 2007, section 4.4).
pub(super) const PATHS: usize = 3;
/// Paths of a lookup in all, with those that it adds when the first found nothing or ended where nodes are too sparse.
/// At most 8: a node keeps its paths as bits of a byte.
pub(super) const MAX_PATHS: usize = 8;
/// Nodes in a path's shortlist: the `K` wanted, and as many in case those fail.
pub(super) const SHORTLIST: usize = 2 * K;
/// Nodes that one lookup asks: its budget. Five times what it takes among 100,000 honest nodes.
pub(super) const MAX_ASKED: usize = 120;
/// Calls of one lookup in flight, slow ones included.
pub(super) const MAX_LOOKUP_CALLS: usize = 10;
/// Closest nodes that must answer on each path before something is stored: enough that each of them knows the 20
/// closest.
pub(super) const DEPTH_PUT: usize = 8;
/// Closest nodes that must answer on each path before a search ends without a result: all holders.
pub(super) const DEPTH_GET: usize = K;
/// Closest nodes that must answer on each path when a lookup only refreshes a range of keys.
pub(super) const DEPTH_REFRESH: usize = 2;
/// Failed nodes of one teller from which on its nodes are no longer asked, unless half as many answered. Chosen, not
/// measured.
pub(super) const MISLED: u8 = 3;
/// How many times sparser than around this node the nodes are where a lookup counts as led astray. Where one node in
/// five lies, the liars among themselves are five times sparser; half of that is the middle.
pub(super) const TOO_SPARSE: f64 = 2.5;
/// Nodes among the closest that must have returned a signed record, or providers, before the search ends early. One or
/// two of four may lie or be out of date.
pub(super) const QUORUM: usize = 4;
/// Nodes that get a copy of a found record although they had none: the closest ones that were asked.
pub(super) const REPAIRS: usize = 1;
/// Longest lease of such a copy, seconds: its holder may be none of the 20 closest.
pub(super) const CACHED_LEFT: u32 = 1800;
/// Nodes asked at once to store one record.
pub(super) const PARALLEL_PUTS: usize = 5;
/// Nodes that a record is offered to, until [`K`] have taken it.
pub(super) const MAX_PUT_TRIES: usize = 2 * K;

/// Jobs in progress, of this node's services and plugins; a further one is refused.
pub const MAX_QUERIES: usize = 256;
/// Pause between two lookups of the own neighbourhood while each yields half as many contacts again.
pub(super) const JOIN_AGAIN: Duration = Duration::from_secs(30);
/// Lookups of upkeep in progress: refreshes, joins and republications.
pub(super) const MAX_UPKEEP: usize = 3;
/// Calls in flight; further lookups wait for one of them to end.
pub const MAX_CALLS: usize = 64;
/// Time after which a path no longer waits for a call: more than nearly all honest round trips with a handshake.
pub const SLOW: Duration = Duration::from_millis(1500);
/// Time after which a call has failed, whatever the driver reports.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a job ends with what it has found.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Reports of lies that wait for the driver; further ones are dropped and counted.
pub(super) const MAX_REPORTS: usize = 64;

// Records of others.

/// Records stored for others: what a small machine can spare.
pub(super) const MAX_RECORDS: usize = 8192;
/// Bytes of these records in memory, as [`super::Record::bytes`] estimates them.
pub(super) const MAX_RECORD_BYTES: usize = 16 << 20;
/// Records that one node may store for itself: a sixteenth. With an eighth per subnet, it takes eight subnets to fill a
/// node.
pub(super) const NODE_RECORDS: usize = MAX_RECORDS / 16;
/// Bytes of these records.
pub(super) const NODE_BYTES: usize = MAX_RECORD_BYTES / 16;
/// Records that all nodes of one subnet may store for themselves: an eighth.
pub(super) const SUBNET_RECORDS: usize = MAX_RECORDS / 8;
/// Bytes of these records.
pub(super) const SUBNET_BYTES: usize = MAX_RECORD_BYTES / 8;
/// Of all records, those received by `Pass`: a half, so that replication cannot fill the room for owners.
pub(super) const PASSED_RECORDS: usize = MAX_RECORDS / 2;
/// Bytes of these records.
pub(super) const PASSED_BYTES: usize = MAX_RECORD_BYTES / 2;
/// Of the records received by `Pass`, those from one node, and those from one subnet: an eighth. A newcomer receives
/// what it is to hold from a few neighbours.
pub(super) const BRINGER_RECORDS: usize = PASSED_RECORDS / 8;
/// Bytes of these records.
pub(super) const BRINGER_BYTES: usize = PASSED_BYTES / 8;
/// Seconds by which storing a known record again may extend its lease without a change of charge: rounding on the way
/// adds seconds. A node that extends it by more pays for the record.
pub(super) const PASSED_LATER: u32 = 60;
/// Providers listed for others, of all keys together.
pub(super) const MAX_PROVIDERS: usize = 8192;
/// Of these, entries of one node: a sixteenth.
pub(super) const NODE_PROVIDED: usize = MAX_PROVIDERS / 16;
/// Of these, entries of one subnet: an eighth.
pub(super) const SUBNET_PROVIDED: usize = MAX_PROVIDERS / 8;
/// Providers of one key from one subnet: a list is for finding different nodes.
pub(super) const PROVIDERS_PER_SUBNET: usize = 4;
/// Known closer nodes from which on a node refuses a record or provider as too far from it: twice the number of
/// holders. Nobody would look for it here.
pub(super) const TOO_FAR: usize = 2 * K;

// Rate limits.

/// Token bucket for the questions of one node. Chosen: a node asks all others together about 190 questions in its first
/// ten minutes.
pub(super) const NODE_RATE: Rate = Rate { burst: 200, per_second: 20 };
/// Token bucket for the questions of one subnet: three nodes' worth.
pub(super) const SUBNET_RATE: Rate = Rate { burst: 600, per_second: 60 };
/// Tokens for a question that stores something: it takes a signature check. Any other question costs one token.
pub(super) const PUT_COST: usize = 2;
/// Token buckets kept of each kind (per node, per subnet); all further askers share one.
pub(super) const MAX_ASKERS: usize = 4096;

// This node's own records.

/// Records of this node's plugins that it republishes; a further one is refused and counted. Together with
/// [`MAX_OWN_PROVIDED`] keys these are 2,560 lookups an hour; at three seconds each, 71 % of what `MAX_UPKEEP` lookups
/// at a time can do.
pub const MAX_OWN_RECORDS: usize = 1024;
/// Keys that this node provides; a further one is refused.
pub const MAX_OWN_PROVIDED: usize = 1024;
/// Lease of a provider, seconds: it outlasts one failed republication.
pub(super) const PROVIDED_FOR: u64 = 5400;
/// Seconds between two republications of a provider.
pub(super) const PROVIDE_EVERY: u32 = 2400;
/// First wait before a retry when nobody stored something, seconds; it doubles after each further failure.
pub(super) const RETRY: u32 = 60;
/// Longest such wait, seconds: no longer than between two regular republications of a provider.
pub(super) const RETRY_MOST: u32 = PROVIDE_EVERY;
/// Records that wait to be handed to a newcomer closer to them; further ones are dropped and counted. Hourly
/// replication reaches it anyway.
pub(super) const MAX_HANDOVERS: usize = 256;
/// Records replicated at one [`TICK`]. The next ones follow when all of these are done.
pub(super) const REPUBLISHED_AT_ONCE: usize = 16;
/// Interval of the periodic work.
pub const TICK: Duration = Duration::from_secs(20);
/// Outputs that may wait for the driver before no further job begins: an end of each job, and all calls and reports.
pub(super) const MAX_OUTPUTS: usize = MAX_QUERIES + 2 * MAX_CALLS + MAX_REPORTS;
