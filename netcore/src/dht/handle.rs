//! The hash table as the rest of the node sees it: methods that wait for the driver's answer, each until its deadline.

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

/// What may wait for the driver, which takes microseconds for each: a burst of everything that a node does at once.
const MAX_COMMANDS: usize = 1024;
/// For answers that need no other node.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What the driver is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Does a job; the answer is dropped where nobody waits any more. At the time, if there is one, what a search has found
    /// is the answer.
    Job(Job, Option<Instant>, oneshot::Sender<Result<Outcome, Failure>>),
    /// Answers a peer.
    Request(Asker, Box<Request>, oneshot::Sender<Response>),
    /// A node that may serve.
    Add(Arc<AddressRecord>),
    Meet(Arc<AddressRecord>, IpAddr),
    /// This node's own records.
    SetOwn(Vec<Arc<AddressRecord>>),
    /// Contacts for others.
    Neighbours(Zone, oneshot::Sender<Vec<Arc<AddressRecord>>>),
}

/// See the module.
#[derive(Debug)]
pub struct DhtHandle {
    commands: mpsc::Sender<Command>,
    inbox: Mutex<Option<mpsc::Receiver<Command>>>,
    stats: watch::Sender<DhtStats>,
    /// What was dropped because the driver did not keep up.
    dropped: Counter,
}

impl Default for DhtHandle {
    fn default() -> Self {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        Self { commands, inbox: Mutex::new(Some(inbox)), stats: watch::Sender::default(), dropped: Counter::default() }
    }
}

impl DhtHandle {
    /// The driver's end; once.
    pub(super) fn inbox(&self) -> Option<mpsc::Receiver<Command>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Gives a record to the nodes closest to its key, and again until it expires. How many took it.
    ///
    /// Fails with `bad argument` (the record is wrong), `refused` (a newer one is there, or nobody took it), `unreachable`
    /// (nobody to ask), `busy` (this node puts too many records already) or `timed out`; after the latter it goes on.
    pub async fn put(&self, record: Record, deadline: Instant) -> Result<u32, Failure> {
        match self.job(Job::Put(record), "put a record", deadline).await? {
            Outcome::Stored { copies } => Ok(copies),
            other => Err(unexpected(&other)),
        }
    }

    /// The newest record found under `key`, checked. Fails as [`Self::put`] for lack of anybody or of time.
    pub async fn get(&self, key: Key, deadline: Instant) -> Result<Option<Record>, Failure> {
        match self.job(Job::Get { key }, "find a record", deadline).await? {
            Outcome::Got(record) => Ok(record),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists this node as a provider of `key` until [`Self::unprovide`]. How many other nodes list it; 0 also while this
    /// node cannot be dialed: it is listed as soon as it can.
    pub async fn provide(&self, key: Key, deadline: Instant) -> Result<u32, Failure> {
        match self.job(Job::Provide(key), "list this node as a provider", deadline).await? {
            Outcome::Stored { copies } => Ok(copies),
            Outcome::Failed(Failed::NoAddress) => Ok(0),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends [`Self::put`]: the record is not given again; what others hold of it expires.
    pub async fn forget(&self, key: Key) {
        if let Err(failure) = self.job(Job::Forget(key), "forget a record", Instant::now() + AT_ONCE).await {
            tracing::warn!(%failure, "cannot end republishing a record");
        }
    }

    /// Ends [`Self::provide`]; what others list of it expires.
    pub async fn unprovide(&self, key: Key) -> Result<(), Failure> {
        match self.job(Job::Unprovide(key), "end providing", Instant::now() + AT_ONCE).await? {
            Outcome::Stored { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Nodes that provide `key`; `limit` of them are enough, and those found by `deadline`. Their signatures are right.
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

    /// Where `node` can be reached, by the newest record found that it signed itself.
    pub async fn locate(&self, node: NodeId, deadline: Instant) -> Result<Option<Arc<AddressRecord>>, Failure> {
        match self.job(Job::Locate(node), "find a node", deadline).await? {
            Outcome::Located(record) => Ok(record),
            other => Err(unexpected(&other)),
        }
    }

    /// Looks around `key`, so that the table fills there: the nodes found, at most as many as a bucket has.
    pub async fn look(&self, key: Key, deadline: Instant) -> Result<Vec<Arc<AddressRecord>>, Failure> {
        match self.job(Job::Look(key), "look around a key", deadline).await? {
            Outcome::Looked(near) => Ok(near),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells of a node that may serve: from exchange, a seed. Its signature must have been checked.
    pub fn add(&self, record: Arc<AddressRecord>) {
        self.tell(Command::Add(record));
    }

    /// Tells of a peer that may serve: its own record, which came over a connection from `ip`.
    pub fn meet(&self, record: Arc<AddressRecord>, ip: IpAddr) {
        self.tell(Command::Meet(record, ip));
    }

    /// This node's own records, one for each zone in which it can be dialed; none: it serves nobody.
    pub fn set_own(&self, records: Vec<Arc<AddressRecord>>) {
        self.tell(Command::SetOwn(records));
    }

    /// The closest contacts, of those that answered lately and that a peer in `zone` may be told of; none when the driver
    /// is slow.
    pub async fn neighbours(&self, zone: Zone) -> Vec<Arc<AddressRecord>> {
        let (told, contacts) = oneshot::channel();
        self.tell(Command::Neighbours(zone, told));
        let limit = tokio::time::timeout(AT_ONCE, contacts);
        limit.await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// How it fares, and every change of it.
    pub fn stats(&self) -> watch::Receiver<DhtStats> {
        self.stats.subscribe()
    }

    /// The driver tells how it fares.
    pub(super) fn set_stats(&self, stats: DhtStats) {
        self.stats.send_if_modified(|known| {
            let is_new = *known != stats;
            *known = stats;
            is_new
        });
    }

    /// What was dropped because the driver did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// Answers a peer's question. `peer misbehaved`: it is none.
    pub(crate) async fn answer(&self, asker: Asker, payload: &Bytes) -> Result<Vec<u8>, Failure> {
        let request = match Request::decode(payload) {
            Ok(request) => request,
            Err(error @ WireError::Unknown { .. }) => {
                return Err(Failure::new(ErrorCode::Unsupported, error.to_string()));
            }
            Err(error) => return Err(Failure::new(ErrorCode::PeerMisbehaved, format!("kad/1: {error}"))),
        };
        let (told, response) = oneshot::channel();
        self.tell(Command::Request(asker, Box::new(request), told));
        let response = response.await.unwrap_or(Response::Refused(Refusal::Busy));
        Ok(response.encode())
    }

    fn tell(&self, command: Command) {
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
        let (told, outcome) = oneshot::channel();
        if self.commands.try_send(Command::Job(job, until, told)).is_err() {
            self.dropped.count();
            let text = "too much waits for the hash table; try again in a moment";
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        match timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ErrorCode::ShuttingDown.into()),
            Err(_) => Err(Failure::new(
                ErrorCode::TimedOut,
                format!("failed to {what} in time: nodes that are gone slow a search down; allow more time"),
            )),
        }
    }
}

/// A job that came to nothing, in words.
fn unexpected(outcome: &Outcome) -> Failure {
    let Outcome::Failed(failed) = outcome else {
        return Failure::new(ErrorCode::Internal, "the hash table answered something else than was asked");
    };
    let (code, hint) = match failed {
        Failed::NoContacts => {
            (ErrorCode::Unreachable, "; see: polypeer status, and add a peer: polypeer peers add TICKET")
        }
        Failed::NotTaken => (ErrorCode::Refused, "; they may be full, try again later"),
        Failed::Superseded => (ErrorCode::Refused, "; get it, and put one with a higher sequence number"),
        Failed::Invalid(_) => (ErrorCode::BadArgument, ""),
        Failed::TooManyOwn => (
            ErrorCode::Busy,
            "; each ends with its lifetime, a day at most: give those a shorter one that need no more",
        ),
        Failed::NoAddress => (ErrorCode::Unreachable, "; it is done as soon as a peer has dialed this node back"),
    };
    Failure::new(code, format!("{failed}{hint}"))
}
