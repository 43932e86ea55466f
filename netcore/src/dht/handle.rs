//! The handle of the DHT: methods that send a request to the driver and wait for its answer until a deadline.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polypeer_engine::address::{AddressRecord, Zone};
use polypeer_engine::dht::{Asker, DhtStats, Failed, Job, Key, Outcome, Record, Refusal, Request, Response, WireError};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::counters::Counter;

/// Requests that wait for the driver: a burst of everything that a node does at once. The driver takes microseconds for
/// each.
const MAX_COMMANDS: usize = 1024;
/// Timeout of answers that need no other node.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A request to the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Starts a job. At the time, if there is one, a search for providers ends with what it has found. A reply that
    /// nobody waits for is dropped.
    Job(Job, Option<Instant>, oneshot::Sender<Result<Outcome, Failure>>),
    /// Answers a peer's question.
    Request(Asker, Box<Request>, oneshot::Sender<Response>),
    /// Adds a node that may serve.
    Add(Arc<AddressRecord>),
    Meet(Arc<AddressRecord>, IpAddr),
    /// Sets this node's own address records.
    SetOwn(Vec<Arc<AddressRecord>>),
    /// Returns contacts that may be disclosed to a peer in the zone.
    Neighbours(Zone, oneshot::Sender<Vec<Arc<AddressRecord>>>),
}

/// A shared handle to the driver of the DHT.
#[derive(Debug)]
pub struct DhtHandle {
    commands: mpsc::Sender<Command>,
    inbox: Mutex<Option<mpsc::Receiver<Command>>>,
    stats: watch::Sender<DhtStats>,
    /// Requests dropped because the queue was full.
    dropped: Counter,
}

impl Default for DhtHandle {
    fn default() -> Self {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        Self { commands, inbox: Mutex::new(Some(inbox)), stats: watch::Sender::default(), dropped: Counter::default() }
    }
}

impl DhtHandle {
    /// The receiving end of the queue; `None` after the first call.
    pub(super) fn inbox(&self) -> Option<mpsc::Receiver<Command>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stores a record at the nodes closest to its key, and republishes it until it expires. Returns the number of
    /// holders.
    ///
    /// Fails with `bad argument` (the record is invalid), `refused` (the holders keep a newer one, or no node accepted
    /// it), `unreachable` (no node to ask), `busy` (this node republishes too many records already) or `timed out`.
    /// After a timeout storing goes on.
    pub async fn put(&self, record: Record, deadline: Instant) -> Result<u32, Failure> {
        match self.job(Job::Put(record), "put a record", deadline).await? {
            Outcome::Stored { copies } => Ok(copies),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the newest record found under `key`, verified. Fails with `unreachable`, `busy` or `timed out`.
    pub async fn get(&self, key: Key, deadline: Instant) -> Result<Option<Record>, Failure> {
        match self.job(Job::Get { key }, "find a record", deadline).await? {
            Outcome::Got(record) => Ok(record),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists this node as a provider of `key` until [`Self::unprovide`]. Returns the number of holders; 0 also while
    /// this node cannot be dialed: it is listed as soon as it can. Fails as [`Self::put`].
    pub async fn provide(&self, key: Key, deadline: Instant) -> Result<u32, Failure> {
        match self.job(Job::Provide(key), "list this node as a provider", deadline).await? {
            Outcome::Stored { copies } => Ok(copies),
            Outcome::Failed(Failed::NoAddress) => Ok(0),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends republishing after [`Self::put`]; copies at holders expire.
    pub async fn forget(&self, key: Key) {
        if let Err(failure) = self.job(Job::Forget(key), "forget a record", Instant::now() + AT_ONCE).await {
            tracing::warn!(%failure, "cannot end republishing a record");
        }
    }

    /// Ends [`Self::provide`]; entries at holders expire.
    pub async fn unprovide(&self, key: Key) -> Result<(), Failure> {
        match self.job(Job::Unprovide(key), "end providing", Instant::now() + AT_ONCE).await? {
            Outcome::Stored { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns at most `limit` providers of `key`, found by `deadline`, with verified signatures.
    pub async fn providers(
        &self,
        key: Key,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Arc<AddressRecord>>, Failure> {
        let patience = deadline + AT_ONCE;
        match self.job_until(Job::Providers { key, limit }, "find providers", Some(deadline), patience).await? {
            Outcome::Providers(providers) => Ok(providers),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the newest address record found of `node`, verified.
    pub async fn locate(&self, node: NodeId, deadline: Instant) -> Result<Option<Arc<AddressRecord>>, Failure> {
        match self.job(Job::Locate(node), "find a node", deadline).await? {
            Outcome::Located(record) => Ok(record),
            other => Err(unexpected(&other)),
        }
    }

    /// Refreshes the routing table around `key`; returns the nodes found there, at most
    /// [`polypeer_engine::dht::limits::K`].
    pub async fn look(&self, key: Key, deadline: Instant) -> Result<Vec<Arc<AddressRecord>>, Failure> {
        match self.job(Job::Look(key), "look around a key", deadline).await? {
            Outcome::Looked(near) => Ok(near),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds a node that may serve, from exchange or a seed. Its signature must have been verified.
    pub fn add(&self, record: Arc<AddressRecord>) {
        self.send(Command::Add(record));
    }

    /// Adds a peer that may serve: its own record, received over a connection from `ip`.
    pub fn meet(&self, record: Arc<AddressRecord>, ip: IpAddr) {
        self.send(Command::Meet(record, ip));
    }

    /// Sets this node's own address records, one for each zone in which it can be dialed. Without any it is a client.
    pub fn set_own(&self, records: Vec<Arc<AddressRecord>>) {
        self.send(Command::SetOwn(records));
    }

    /// Returns the contacts closest to this node that answered their last call and may be disclosed to a peer in
    /// `zone`; none when the driver is slow.
    pub async fn neighbours(&self, zone: Zone) -> Vec<Arc<AddressRecord>> {
        let (reply, contacts) = oneshot::channel();
        self.send(Command::Neighbours(zone, reply));
        let limit = tokio::time::timeout(AT_ONCE, contacts);
        limit.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The sizes and counters, and every change of them.
    pub fn stats(&self) -> watch::Receiver<DhtStats> {
        self.stats.subscribe()
    }

    /// Publishes sizes and counters; for the driver.
    pub(super) fn set_stats(&self, stats: DhtStats) {
        self.stats.send_if_modified(|known| {
            let is_new = *known != stats;
            *known = stats;
            is_new
        });
    }

    /// Number of requests dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// Answers a peer's question. Fails with `unsupported` (of a later version) or `peer misbehaved` (malformed).
    pub(crate) async fn answer(&self, asker: Asker, payload: &Bytes) -> Result<Vec<u8>, Failure> {
        let request = match Request::decode(payload) {
            Ok(request) => request,
            Err(error @ WireError::Unknown { .. }) => {
                return Err(Failure::new(ErrorCode::Unsupported, error.to_string()));
            }
            Err(error) => return Err(Failure::new(ErrorCode::PeerMisbehaved, format!("kad/1: {error}"))),
        };
        let (reply, response) = oneshot::channel();
        self.send(Command::Request(asker, Box::new(request), reply));
        let response = response.await.unwrap_or(Response::Refused(Refusal::Busy));
        Ok(response.encode())
    }

    fn send(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.dropped.count();
        }
    }

    async fn job(&self, job: Job, what: &str, deadline: Instant) -> Result<Outcome, Failure> {
        self.job_until(job, what, None, deadline).await
    }

    async fn job_until(
        &self,
        job: Job,
        what: &str,
        until: Option<Instant>,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        let (reply, outcome) = oneshot::channel();
        if self.commands.try_send(Command::Job(job, until, reply)).is_err() {
            self.dropped.count();
            let text = "too many requests wait for the hash table; try again in a moment";
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        match timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ErrorCode::ShuttingDown.into()),
            Err(_) => Err(Failure::new(
                ErrorCode::TimedOut,
                format!("failed to {what} in time: absent nodes slow a lookup down; allow more time"),
            )),
        }
    }
}

/// The error for a failed job, with a hint.
fn unexpected(outcome: &Outcome) -> Failure {
    let Outcome::Failed(failed) = outcome else {
        return Failure::new(ErrorCode::Internal, "the hash table gave an answer of another kind than was asked for");
    };
    let (code, hint) = match failed {
        Failed::NoContacts => {
            (ErrorCode::Unreachable, "; see: `polypeer status`, and add a peer: `polypeer peers add TICKET`")
        }
        Failed::NotTaken => (ErrorCode::Refused, "; they may be full: try again later"),
        Failed::Superseded => (ErrorCode::Refused, "; get it, then put one with a higher sequence number"),
        Failed::Invalid(_) => (ErrorCode::BadArgument, ""),
        Failed::TooManyOwn => (
            ErrorCode::Busy,
            "; each counts until it expires, a day at most: give records a shorter lifetime if that suffices",
        ),
        Failed::NoAddress => (ErrorCode::Unreachable, "; it is done as soon as a peer has dialed this node back"),
    };
    Failure::new(code, format!("{failed}{hint}"))
}
