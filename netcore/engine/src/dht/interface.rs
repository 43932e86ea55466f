//! The types that go into the engine and come out of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::key::Key;
use super::record::{Record, RecordError};
use super::wire::Request;
use crate::address::AddressRecord;

/// Settings of a node's DHT.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// Age of the last lookup in a bucket from which on the bucket is refreshed.
    pub refresh: Duration,
    /// How often an owner republishes a record, and a holder replicates it.
    pub republish: Duration,
    /// Whether the defences against hostile nodes are on; off only to measure what they achieve.
    pub defences: bool,
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(3600), republish: Duration::from_secs(3600), defences: true }
    }
}

/// The node that asks, as its connection proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub node: NodeId,
    /// The address that its packets come from.
    pub ip: IpAddr,
}

/// A number for a job in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A number for a call: one question in flight to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A task for the DHT.
#[derive(Debug, Clone)]
pub enum Job {
    /// Finds the newest address record of a node. → [`Outcome::Located`]
    Locate(NodeId),
    /// Refreshes a range of the table: asks a few nodes around a key for the nodes closest to it. → [`Outcome::Looked`]
    Look(Key),
    /// Finds the record under a key. → [`Outcome::Got`]
    Get { key: Key },
    /// Stores a record at the nodes closest to its key, and republishes it until it expires. → [`Outcome::Stored`]
    Put(Record),
    /// Ends republishing after [`Job::Put`]; copies at holders expire. → [`Outcome::Stored`] with no copies, at once
    Forget(Key),
    /// Lists this node as a provider of a key, and republishes that until [`Job::Unprovide`]. While this node cannot be
    /// dialed, the job ends with [`Failed::NoAddress`]; the node is listed as soon as it has an address record. →
    /// [`Outcome::Stored`]
    Provide(Key),
    /// Ends [`Job::Provide`]; entries at holders expire. → [`Outcome::Stored`] with no copies, at once
    Unprovide(Key),
    /// Finds providers of a key. → [`Outcome::Providers`]
    Providers {
        key: Key,
        /// Providers after which the search ends.
        limit: usize,
    },
}

/// The outcome of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The newest address record found, its signature verified.
    Located(Option<Arc<AddressRecord>>),
    /// At most [`super::limits::K`] nodes near the key, closest first, with verified signatures. Not all of them have
    /// answered.
    Looked(Vec<Arc<AddressRecord>>),
    /// The newest record found under the key, verified.
    Got(Option<Record>),
    /// The record or provider is stored.
    Stored {
        /// Holders, this node included if it is one.
        copies: u32,
    },
    /// The providers found, with verified signatures.
    Providers(Vec<Arc<AddressRecord>>),
    Failed(Failed),
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// No node to start a lookup at.
    #[error("no known peer serves the hash table; is this node connected to any?")]
    NoContacts,
    /// No node stored it.
    #[error("none of the nodes asked to store this accepted it")]
    NotTaken,
    /// More nodes keep a newer record than stored this one.
    #[error("the nodes asked to store the record keep a newer one")]
    Superseded,
    /// The record to store is invalid.
    #[error("the record is invalid: {0}")]
    Invalid(RecordError),
    /// This node republishes as many records as it may.
    #[error(
        "this node republishes {} records of its plugins already, which is the limit",
        super::limits::MAX_OWN_RECORDS
    )]
    TooManyOwn,
    /// This node has no address record, so nobody could reach the provider.
    #[error("this node cannot be dialed by others, so it cannot be listed as a provider yet")]
    NoAddress,
}

/// Too many jobs are in progress, or too many outputs wait for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many lookups in progress; try again in a moment")]
pub struct Busy;

/// Why a call has no valid answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailed {
    /// No connection, or no answer in time. Counts against the contact.
    Unreachable,
    /// The peer refused because it is busy.
    Busy,
    /// Not tried: a limit of this node, or no network.
    NotTried,
    /// The answer is malformed. Counts against the contact.
    Malformed,
}

/// What the engine asks of its driver, or reports to it.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a question to a node. It ends with one [`super::Dht::handle_answer`].
    Call {
        /// To be passed to [`super::Dht::handle_answer`].
        call: CallId,
        /// The node to ask, and its addresses.
        to: Arc<AddressRecord>,
        request: Request,
    },
    Done {
        query: QueryId,
        outcome: Outcome,
    },
    /// A node was caught lying.
    Misbehaved {
        node: NodeId,
        why: Lie,
    },
}

/// What a node was caught lying about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// A contact with a forged address record, or another node's record sent as the asker's own.
    #[error("it sent a forged address record")]
    Contact,
    /// A record or provider that does not belong under its key, is too large, or has a wrong signature.
    #[error("it sent a forged record")]
    Record,
    /// An answer of another kind than the question asks for.
    #[error("its answer does not fit the question")]
    Answer,
}

/// Sizes and counters of the DHT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DhtStats {
    /// Contacts in the routing table.
    pub contacts: usize,
    /// Of these, contacts whose last call did not fail.
    pub sound_contacts: usize,
    /// Buckets with at least one contact.
    pub buckets: usize,
    /// Bytes of memory of the table.
    pub table_bytes: usize,
    /// Records stored for others.
    pub records: usize,
    /// Bytes of these records.
    pub record_bytes: usize,
    /// Providers listed for others.
    pub providers: usize,
    /// Jobs in progress, upkeep included.
    pub queries: usize,
    /// Calls in flight.
    pub calls: usize,
    /// Whether this node has looked up its own neighbourhood.
    pub joined: bool,
    pub counts: Counts,
}

/// Counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub answered: u64,
    /// Questions refused because the asker or its subnet exceeded the rate limit.
    pub refused_busy: u64,
    /// Questions refused because this node does not serve.
    pub refused_not_serving: u64,
    /// Records and providers refused because the asker or its subnet has used up its quota.
    pub refused_quota: u64,
    /// Records and providers refused because the store is full of closer ones.
    pub refused_full: u64,
    /// Records and providers refused because this node is too far from their key.
    pub refused_far: u64,
    /// Records and providers refused because they are malformed, expired, forged or superseded.
    pub refused_invalid: u64,
    /// Records and providers evicted to make room for others.
    pub evicted: u64,
    /// Lies that nodes were caught at.
    pub lies: u64,
    /// Reports of lies dropped because too many waited for the driver.
    pub reports_dropped: u64,
    /// Address records dropped because no honest node sends them: of a zone that may not be disclosed here, with
    /// invalid addresses or time, or not matching the address that they came from.
    pub implausible: u64,
    /// Nodes that answered and did not enter the table: too many of their subnet are in it, or their connection is
    /// relayed.
    pub crowded: u64,
    /// Nodes dropped because too many waited for their first call.
    pub candidates_dropped: u64,
    /// Nodes not called because too many that the same subnet introduced were absent.
    pub candidates_doubted: u64,
    /// Records of this node's plugins refused because it republishes too many already.
    pub own_not_kept: u64,
    /// Records not handed to a closer newcomer because too many handovers waited.
    pub handovers_dropped: u64,
    /// Jobs that ended by their timeout.
    pub timed_out: u64,
    pub calls: u64,
    pub calls_failed: u64,
    /// Times that a lookup started further paths, because it found nothing or seemed led astray.
    pub extended: u64,
}
