//! The distributed hash table: Kademlia over authenticated connections.

pub(crate) mod driver;
mod handle;
pub mod key;
pub mod limits;
pub mod record;
pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::address::{AddressRecord, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;

pub use handle::DhtHandle;
pub use key::Key;
pub use record::{ProviderRecord, Record, RecordError};
pub use wire::{Ask, Refusal, Request, Response, WireError};

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
    /// Finds the record under a key. → [`Outcome::Got`]
    Get {
        /// Which.
        key: Key,
    },
    /// Gives a record to the nodes closest to its key, and again until it expires. → [`Outcome::Stored`]
    Put(Record),
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
    /// To ask a node; ends with one [`Dht::handle_answer`].
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
    /// Whether it has looked up its own neighbourhood.
    pub joined: bool,
}

/// The machine of one node.
pub struct Dht {
    keys: SharedKeys,
}

impl Dht {
    /// One that knows nobody. `seed` is where all its randomness comes from.
    pub fn new(keys: SharedKeys, _config: DhtConfig, _seed: [u8; 32]) -> Self {
        Self { keys }
    }

    /// Tells where this node can be reached: one record for each zone in which a peer has dialed it back. With none it is a
    /// client: it asks, and answers nobody.
    pub fn set_own(&mut self, _now: Now, _records: Vec<Arc<AddressRecord>>) {}

    /// Tells of a node that may serve: it becomes a contact once it has answered.
    pub fn add(&mut self, _now: Now, _record: Arc<AddressRecord>) {}

    /// Answers a question.
    pub fn handle_request(&mut self, _now: Now, _asker: &Asker, _request: Request) -> Response {
        Response::Refused(Refusal::NotServing)
    }

    /// Begins a job; it ends with one [`Output::Done`].
    pub fn start(&mut self, _now: Now, _job: Job) -> Result<QueryId, Busy> {
        Err(Busy)
    }

    /// Ends a job without an [`Output::Done`].
    pub fn cancel(&mut self, _query: QueryId) {}

    /// Takes what became of a call. One that is not known any more means nothing.
    pub fn handle_answer(&mut self, _now: Now, _call: CallId, _answer: Result<Response, CallFailed>) {}

    /// The next thing to do or to say; to be called until it has none, after every other call.
    pub fn poll(&mut self, _now: Now) -> Option<Output> {
        None
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// Contacts that answered lately, of this zone, at random: for peers that need others.
    pub fn some_contacts(&self, _count: usize, _zone: Zone) -> Vec<Arc<AddressRecord>> {
        Vec::new()
    }

    /// How it fares.
    pub fn stats(&self) -> DhtStats {
        let _ = self.keys.node();
        DhtStats::default()
    }
}
