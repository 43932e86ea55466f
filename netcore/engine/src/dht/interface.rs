//! What goes into the machine and comes out of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::key::Key;
use super::record::{Record, RecordError};
use super::wire::Request;
use crate::address::AddressRecord;

/// What may differ between nodes.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// How often a bucket nobody looked into is looked into.
    pub refresh: Duration,
    /// How often a record is put again, by its owner and by those who keep it.
    pub republish: Duration,
    /// Whether the measures against hostile nodes are on; off only to show what they are good for.
    pub defences: bool,
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(3600), republish: Duration::from_secs(3600), defences: true }
    }
}

/// Who asks, as its connection proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Which node.
    pub node: NodeId,
    /// Where its packets come from.
    pub ip: IpAddr,
}

/// A job in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A question on its way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What the table can be asked to do.
#[derive(Debug, Clone)]
pub enum Job {
    /// Finds where a node can be reached. → [`Outcome::Located`]
    Locate(NodeId),
    /// Asks a few nodes around a key for the nodes around it, so that the table fills there. → [`Outcome::Looked`]
    Look(Key),
    /// Finds the record under a key. → [`Outcome::Got`]
    Get {
        /// Which.
        key: Key,
    },
    /// Gives a record to the nodes closest to its key, and again until it expires. → [`Outcome::Stored`]
    Put(Record),
    /// Ends [`Job::Put`]: the record is not given again; what others hold of it expires. → [`Outcome::Stored`] with no
    /// copies, at once
    Forget(Key),
    /// Lists this node as a provider of a key, and again until [`Job::Unprovide`]. While this node cannot be dialed it ends
    /// with [`Failed::NoAddress`], and is done as soon as it can. → [`Outcome::Stored`]
    Provide(Key),
    /// Ends [`Job::Provide`]. → [`Outcome::Stored`] with no copies, at once
    Unprovide(Key),
    /// Finds providers of a key. → [`Outcome::Providers`]
    Providers {
        /// Of which.
        key: Key,
        /// How many are enough.
        limit: usize,
    },
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The newest record of the node that was found; its signature is right.
    Located(Option<Arc<AddressRecord>>),
    /// Asked all that was to be asked: nodes near the place, most of which answered; their signatures are right.
    Looked(Vec<Arc<AddressRecord>>),
    /// The newest record that was found under the key; it has been checked.
    Got(Option<Record>),
    /// Done.
    Stored {
        /// Nodes that have it.
        copies: u32,
    },
    /// Those found; their signatures are right.
    Providers(Vec<Arc<AddressRecord>>),
    /// Not done.
    Failed(Failed),
}

/// Why a job was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Nobody to ask: no peer is known that serves the table.
    #[error("no peer is known that serves the hash table; is this node connected to any?")]
    NoContacts,
    /// Nobody took it.
    #[error("none of the nodes asked to keep the record took it")]
    NotTaken,
    /// Others hold a newer one.
    #[error("a newer record is there already")]
    Superseded,
    /// The record itself is wrong.
    #[error("the record is not right: {0}")]
    Invalid(RecordError),
    /// This node puts as many again by itself as it can.
    #[error("this node keeps {} records of its plugins alive, which is the limit", super::limits::MAX_OWN_RECORDS)]
    TooManyOwn,
    /// This node has no address to tell.
    #[error("this node cannot be dialed by others, so it cannot be listed as a provider yet")]
    NoAddress,
}

/// Too many jobs in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many lookups in progress; try again in a moment")]
pub struct Busy;

/// Why there is no answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailed {
    /// No connection, or no answer in time: counts against the contact.
    Unreachable,
    /// The peer is there and said that it is busy.
    Busy,
    /// Not even tried: limits of this node, or no network.
    NotTried,
    /// What came is not an answer.
    Malformed,
}

/// What the machine wants done, or says.
#[derive(Debug, Clone)]
pub enum Output {
    /// To ask a node; ends with one [`super::Dht::handle_answer`].
    Call {
        /// To be given back.
        call: CallId,
        /// Whom, and where.
        to: Arc<AddressRecord>,
        /// What.
        request: Request,
    },
    /// A job has ended.
    Done {
        /// Which.
        query: QueryId,
        /// How.
        outcome: Outcome,
    },
    /// A node lied.
    Misbehaved {
        /// Which.
        node: NodeId,
        /// How.
        why: Lie,
    },
}

/// What a node was caught at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// A contact, or its own record, with a wrong signature or impossible addresses.
    #[error("it told an address record that is forged")]
    Contact,
    /// A record or provider that is not what its key says, or has a wrong signature.
    #[error("it told a record that is forged")]
    Record,
    /// An answer that does not fit its question.
    #[error("its answer does not fit the question")]
    Answer,
}

/// How the machine fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DhtStats {
    /// Contacts in the table.
    pub contacts: usize,
    /// Of these, those whose last call did not fail.
    pub sound_contacts: usize,
    /// Buckets that have any.
    pub buckets: usize,
    /// Memory of the table, bytes.
    pub table_bytes: usize,
    /// Records kept for others.
    pub records: usize,
    /// Their bytes.
    pub record_bytes: usize,
    /// Providers kept for others.
    pub providers: usize,
    /// Jobs in progress.
    pub queries: usize,
    /// Calls in flight.
    pub calls: usize,
    /// Whether it has looked up its own neighbourhood.
    pub joined: bool,
    /// What happened so far.
    pub counts: Counts,
}

/// What happened, as numbers that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions answered.
    pub answered: u64,
    /// Questions refused for their number.
    pub refused_busy: u64,
    /// Questions refused because this node does not serve.
    pub refused_not_serving: u64,
    /// Records and providers not taken for what their bringer or its network fills already.
    pub refused_quota: u64,
    /// Records and providers not taken for lack of any room.
    pub refused_full: u64,
    /// Records and providers not taken because others are closer to their key.
    pub refused_far: u64,
    /// Records and providers not taken because they are wrong, expired or older.
    pub refused_invalid: u64,
    /// Records and providers dropped to make room for others.
    pub evicted: u64,
    /// Lies of nodes.
    pub lies: u64,
    /// Reports of lies dropped because nobody took them.
    pub reports_dropped: u64,
    /// Contacts in answers that no honest node tells: of a zone that is none of ours, or this node itself.
    pub implausible: u64,
    /// Contacts not taken because too many of their network are there.
    pub crowded: u64,
    /// Nodes that may serve, dropped because too many waited for their first call.
    pub candidates_dropped: u64,
    /// Nodes that may serve, not called because too many that came from the same network were not there.
    pub candidates_doubted: u64,
    /// Records refused to this node's plugins, because it puts too many again by itself.
    pub own_not_kept: u64,
    /// Records not handed over at once because too many were.
    pub handovers_dropped: u64,
    /// Jobs ended by their time.
    pub timed_out: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls that failed.
    pub calls_failed: u64,
    /// Lookups begun anew because they were led astray or found nothing.
    pub extended: u64,
}
