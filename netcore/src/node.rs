//! The state of one network core: what the gateway, the links and the admin session share. Each part owns its own; this
//! only holds them together. Made once by [`crate::run`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use polypeer_ipc_protocol::admin::{AdminEvent, SourceStatus};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Scope};
use polypeer_ipc_protocol::ids::{NodeId, OPERATOR, Protocol};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::account::Accounts;
use crate::counters::Counters;
use crate::gateway::datagrams::Receivers;
use crate::gateway::kept::Kept;
use crate::gateway::launch::Launch;
use crate::gateway::network::Watched;
use crate::gateway::provided::Provided;
use crate::gateway::records::Sequences;
use crate::gateway::router::Router;
use crate::gateway::session::Session;
use crate::keys::SharedKeys;
use crate::limits::{ADMIN_EVENTS, HELD, Timings};
use crate::link::Links;
use crate::peers::Peers;
use crate::services::Services;

/// How far the network core has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `Start` has not come: nothing is accepted from anywhere.
    Waiting,
    /// Everything works.
    Open,
    /// Nothing new is accepted; what runs may end.
    Stopping,
}

/// The state of one network core.
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Signs as it, and checks anybody's signatures.
    pub keys: SharedKeys,
    /// Its network: peers of others are not talked to.
    pub network: String,
    /// When it was made.
    pub started: Instant,
    /// Its waiting times.
    pub timings: Timings,
    /// What happened.
    pub counters: Counters,
    /// What plugins used.
    pub accounts: Accounts,
    /// Connections to peers.
    pub links: Links,
    /// Which plugin receives which protocol's datagrams.
    pub(crate) datagrams: Receivers,
    /// What plugins provide.
    pub(crate) provided: Provided,
    /// Which records they have in the hash table.
    pub(crate) kept: Kept,
    /// What was given to records of this node's own.
    pub(crate) sequences: Sequences,
    /// Streams and calls that may wait for a listener.
    pub(crate) held: Semaphore,
    /// The network as plugins that watch it were told of it.
    pub(crate) network_seen: Watched,
    /// Signalled when a listener came or went.
    pub(crate) routes_changed: Notify,
    /// Changes with every change of what is served to peers.
    pub(crate) serving_changed: watch::Sender<u64>,
    router: Mutex<Router<Arc<Session>>>,
    launches: Mutex<HashMap<u64, Arc<Launch>>>,
    services: Services,
    peers: OnceLock<Peers>,
    phase: watch::Sender<Phase>,
    events: mpsc::Sender<AdminEvent>,
    numbers: AtomicU64,
}

impl Node {
    /// A node that waits for `Start`, and the events it has for the supervisor.
    pub fn new(keys: SharedKeys, network: String, timings: Timings) -> (Arc<Self>, mpsc::Receiver<AdminEvent>) {
        let (events, receiver) = mpsc::channel(ADMIN_EVENTS);
        let node = Self {
            id: keys.node(),
            keys,
            network,
            started: Instant::now(),
            timings,
            counters: Counters::default(),
            accounts: Accounts::default(),
            links: Links::default(),
            datagrams: Receivers::default(),
            provided: Provided::default(),
            kept: Kept::default(),
            sequences: Sequences::default(),
            held: Semaphore::new(HELD),
            network_seen: Watched::default(),
            routes_changed: Notify::new(),
            serving_changed: watch::Sender::new(0),
            router: Mutex::new(Router::new(timings.hold)),
            launches: Mutex::default(),
            services: Services::default(),
            peers: OnceLock::new(),
            phase: watch::Sender::new(Phase::Waiting),
            events,
            numbers: AtomicU64::new(1),
        };
        (Arc::new(node), receiver)
    }

    /// Gives the node its network, once.
    pub fn join(&self, peers: Peers) {
        let _ = self.peers.set(peers);
    }

    /// The peers, unless the node has no network.
    pub fn peers(&self) -> Result<&Peers, Failure> {
        self.peers.get().ok_or_else(|| Failure::new(ErrorCode::Unreachable, "this node has no network"))
    }

    /// What it does beyond carrying streams.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The discovery sources, in the order they are tried.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.services.discovery.sources(self)
    }

    /// Whether a peer is a seed that was found without its node id, and nobody else has named it so far.
    pub fn is_unverified(&self, peer: &NodeId) -> bool {
        self.services.discovery.is_unverified(peer)
    }

    /// A number not used before: for streams, calls and sessions.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the supervisor something; counted when it has not read the last few thousand things.
    pub(crate) fn tell(&self, event: AdminEvent) {
        if self.events.try_send(event).is_err() {
            self.counters.admin_events_dropped.count();
        }
    }

    pub(crate) fn router(&self) -> MutexGuard<'_, Router<Arc<Session>>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn launches(&self) -> MutexGuard<'_, HashMap<u64, Arc<Launch>>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everything that waits for a listener or tells peers what is served.
    pub(crate) fn listeners_changed(&self) {
        self.routes_changed.notify_waiters();
        self.serving_changed.send_modify(|version| *version += 1);
    }

    /// The sessions that stand.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.launches().values().filter_map(|launch| launch.session()).collect()
    }

    /// Protocols served to `peer`.
    pub(crate) fn serving(&self, peer: &NodeId) -> Vec<Protocol> {
        let all = self.router().serving();
        let visible = all.into_iter().filter(|(_, session)| session.launch.grants().peers.allows(peer));
        visible.map(|(protocol, _)| protocol).take(crate::limits::MAX_SERVING).collect()
    }

    /// When the newest launch came that may serve `protocol` to `origin`. The operator's commands do not count: they
    /// may serve everything, and most serve nothing.
    pub(crate) fn launched_to_serve(&self, origin: &Origin, protocol: &Protocol) -> Option<Instant> {
        let used = crate::grants::Use::Serve(origin.clone(), protocol.clone());
        let launches = self.launches();
        let may_serve = launches.values().filter(|launch| {
            launch.plugin.as_str() != OPERATOR && used.check(&launch.plugin, &launch.grants()).is_ok()
        });
        may_serve.map(|launch| launch.since).max()
    }

    /// How far the node has come.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Opens or stops; never goes back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_modify(|current| *current = phase.max(*current));
    }

    /// Fails once the node stops.
    pub(crate) fn check_running(&self) -> Result<(), Failure> {
        match *self.phase.borrow() {
            Phase::Stopping => Err(Failure::new(ErrorCode::ShuttingDown, "the node is stopping")),
            Phase::Waiting | Phase::Open => Ok(()),
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where a listener for something from `origin` must listen.
pub(crate) fn scope_for(origin: &Origin) -> Scope {
    match origin {
        Origin::Peer(_) => Scope::Peers,
        Origin::Local(_) => Scope::Local,
    }
}
