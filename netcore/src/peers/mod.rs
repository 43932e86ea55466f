//! Who this node is connected to, and how it gets there: one connection per pair, dials, remembered peers, blocks.
//!
//! The gateway holds [`Peers`] and asks it for connections; each new one is handed to it once, through the callback
//! given to [`Peers::bind`]. Below, [`crate::transport`] makes single attempts. [`polypeer_engine::peers`] decides; `connect`,
//! `inbound`, `effects` and `operator` drive it through `state`: one lock around all state, never held across an await, and
//! tasks on the caller's runtime; the endpoint has its own thread.
//!
//! Before anything else each connection carries the exchange of `tie_break` on its first bidirectional stream: by the
//! time the callback sees a connection that stream is used up, and the other node has agreed to keep the connection.

mod config;
mod connect;
mod dial_unknown;
mod dialer;
mod effects;
mod event;
mod inbound;
mod local;
mod operator;
mod state;
pub mod store;
mod tie_break;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::address::Zone;
use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::socket_address::plain;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::admin::{Cause, NetStatus, PeerRecord};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::MAX_TICKET_ADDRESSES;
use polypeer_ipc_protocol::settings::DEFAULT_PORT;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::sync::broadcast;

use crate::clock;
use crate::transport::{Choice, Transport};
pub use config::{PeersConfig, StartError};
pub use event::{Established, OnEstablished, OnQuery, PeerEvent};
use state::Shared;
use store::Store;

/// Events kept for a slow listener; one that misses some is told how many (`RecvError::Lagged`) and can read
/// [`Peers::records`] instead.
const MAX_EVENTS: usize = 1024;

/// A handle to all of it; cheap to clone. When the last one is dropped everything stops, without the goodbyes of
/// [`Peers::close`].
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// Stops the tasks, which hold `Shared` themselves, when the last handle is gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Says that a connection is in use; see [`Peers::keep`].
#[must_use = "dropped, it keeps nothing"]
pub struct Keep {
    shared: Arc<Shared>,
    node: NodeId,
}

impl Keep {
    fn new(shared: &Arc<Shared>, node: NodeId) -> Self {
        shared.lock().manager.keep(node);
        Self { shared: Arc::clone(shared), node }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.shared.lock().manager.release(clock::now(), &self.node);
        self.shared.manager_changed.notify_one();
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keep").field(&self.node).finish()
    }
}

impl Peers {
    /// Binds the sockets and loads what is remembered. Accepts and dials nothing before [`Self::open`]. Must be called
    /// within the runtime that the node's tasks are to run on.
    pub async fn bind(config: PeersConfig, on_established: OnEstablished) -> Result<Self, StartError> {
        let default = [SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)), SocketAddr::from(([0u16; 8], DEFAULT_PORT))];
        let listen = if config.listen.is_empty() { default.as_slice() } else { &config.listen };
        let choice = if config.explicit_listen { Choice::Explicit } else { Choice::Default };
        let (mut transport, warnings) = Transport::bind(&config.identity, listen, choice, config.idle)?;
        transport.set_network(&config.network);
        let home = config.home.clone();
        let mut loaded =
            tokio::task::spawn_blocking(move || Store::open(&home)).await.map_err(|_| StartError::Store)?;
        loaded.warnings.splice(0..0, warnings);
        let shared = Arc::new(Shared::new(config, transport, on_established, loaded));
        Ok(Self { _owner: Arc::new(Owner(Arc::clone(&shared))), shared })
    }

    /// Says who answers query connections, once; without, they are refused.
    pub fn answer_queries(&self, on_query: OnQuery) {
        let _ = self.shared.on_query.set(on_query);
    }

    /// Starts accepting, and dialing remembered peers.
    pub fn open(&self) {
        self.shared.open();
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared.me
    }

    /// The connection with `node`, made if there is none: at `hints`, which the operator, a plugin or a ticket named, and wherever
    /// else it is known to be. All callers share one dial; giving up on waiting does not end it.
    ///
    /// Fails with `unknown peer` (no address), `unreachable`, `blocked`, `timed out` (at `deadline`), `busy` (too many
    /// peers or callers), `bad argument` (this very node) or `shutting down`.
    pub async fn connect(
        &self,
        node: NodeId,
        hints: &[SocketAddr],
        deadline: Instant,
    ) -> Result<quinn::Connection, Failure> {
        self.connect_as(node, hints, Source::Ticket, deadline).await
    }

    /// [`Self::connect`] for hints that `source` named: who it is believed to be by depends on that.
    pub async fn connect_as(
        &self,
        node: NodeId,
        hints: &[SocketAddr],
        source: Source,
        deadline: Instant,
    ) -> Result<quinn::Connection, Failure> {
        let result = match self.shared.begin(node, hints, source)? {
            state::Begun::Live(connection) => return Ok(connection),
            state::Begun::Wait(result) => result,
        };
        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::from(ErrorCode::ShuttingDown)),
            Err(_) => Err(self.shared.still_dialing(&node)),
        }
    }

    /// The connection in use with `node`.
    pub fn connection(&self, node: &NodeId) -> Option<quinn::Connection> {
        self.shared.lock().table.live(node).map(|live| live.link.connection.clone())
    }

    /// Where `node`, whose packets come from `ip`, says it can be reached. Only addresses of zones that are told there are
    /// believed: another machine's loopback is ours, and a stranger's private network is not.
    pub fn learned(&self, node: NodeId, ip: IpAddr, addresses: &[SocketAddr]) {
        self.shared.learned(node, addresses, |zone| zone.is_told_to(Zone::of(ip)));
    }

    /// Where `node` can be reached by its own signature, which was looked up and judged already: all but loopback is
    /// believed.
    pub fn located(&self, node: NodeId, addresses: &[SocketAddr]) {
        self.shared.learned(node, addresses, |zone| zone != Zone::Loopback);
    }

    /// `node` may be at `addresses`, as `source` says: dials it if that is useful now, or keeps it in mind for later.
    pub fn found(&self, node: NodeId, addresses: &[SocketAddr], source: Source) {
        self.shared.found(node, addresses, source);
    }

    /// Connects to whoever is at `address`, an address that `source` named without saying whose it is. Returns who that
    /// is, if the connection is kept, or if there was one already.
    pub async fn dial_seed(&self, address: SocketAddr, source: Source) -> Result<NodeId, DialError> {
        self.shared.dial_seed(address, source).await
    }

    /// Everybody connected now.
    pub fn connected(&self) -> Vec<NodeId> {
        self.shared.lock().table.connected().map(|(node, _)| *node).collect()
    }

    /// How the connection with `node` came about, and where its packets come from now.
    pub fn came(&self, node: &NodeId) -> Option<(Source, SocketAddr)> {
        self.shared.came(node)
    }

    /// How many peers are known from earlier connections, or why that cannot be said.
    pub fn remembered(&self) -> Result<usize, String> {
        self.shared.remembered()
    }

    /// How many connections `source` led to, and when the last was made.
    pub fn found_by(&self, source: Source) -> Option<(u64, Instant)> {
        self.shared.lock().found.get(&source).copied()
    }

    /// Keeps the connection with `node`, present or next, from being let go for as long as the result lives.
    pub fn keep(&self, node: NodeId) -> Keep {
        Keep::new(&self.shared, node)
    }

    /// `node` did something good or bad. Bad enough, it is cut off and refused for a while.
    pub fn score(&self, node: NodeId, event: ScoreEvent) {
        self.shared.score(node, event, None, None);
    }

    /// `node` broke the protocol: `reason` is for the operator. The caller ends the connection.
    pub fn misbehaved(&self, node: NodeId, reason: &str) {
        self.shared.score(node, ScoreEvent::Misbehaved, Some(reason), None);
    }

    /// The same of a node that need not be connected: its packets came from `address`.
    pub fn misbehaved_at(&self, node: NodeId, address: SocketAddr, reason: &str) {
        self.shared.score(node, ScoreEvent::Misbehaved, Some(reason), Some(plain(address)));
    }

    /// Fails when nothing is to be had to do with `node`: `blocked`, or `peer misbehaved` while it is banned.
    pub fn check(&self, node: &NodeId) -> Result<(), Failure> {
        self.shared.check(node)
    }

    /// Keeps `node` connected whatever the marks say, also after a restart, or stops doing so. Fails with `busy` when
    /// hundreds are protected already, with `bad argument` for this very node, and as [`Self::block`] does.
    pub async fn protect(&self, node: NodeId, protected: bool) -> Result<(), Failure> {
        self.shared.protect(node, protected).await
    }

    /// This node's ticket: its id, public addresses that peers have dialed back, and those of this machine that it
    /// listens on.
    pub fn ticket(&self) -> Ticket {
        let mut addresses = self.shared.lock().confirmed.clone();
        let local = local::addresses(&self.shared.transport.local_addresses());
        addresses.extend(local.into_iter().filter(|address| !addresses.contains(address)).collect::<Vec<_>>());
        addresses.truncate(MAX_TICKET_ADDRESSES);
        Ticket { node: self.shared.me, addresses }
    }

    /// Where a peer at `ip`, which sees this node at `own`, may try to reach it: those of the ticket that mean something to
    /// it. Of public ones it is told those that peers have dialed back, those the operator listens on by name, and `own`,
    /// which it knows: others would show which lines and tunnels a machine has.
    pub(crate) fn addresses_for(&self, ip: IpAddr, own: Option<IpAddr>) -> Vec<SocketAddr> {
        let confirmed = self.shared.lock().confirmed.clone();
        let bound = self.shared.transport.local_addresses();
        let known = |address: &SocketAddr| {
            confirmed.contains(address) || bound.contains(address) || own == Some(address.ip().to_canonical())
        };
        local::told(self.ticket().addresses, ip, own, known)
    }

    /// Public addresses of this node that peers have dialed back, perhaps none of this machine's own.
    pub(crate) fn set_confirmed(&self, addresses: Vec<SocketAddr>) {
        self.shared.lock().confirmed = addresses;
    }

    /// All peers: connected, known and blocked. `protocols` is left for the caller to fill in.
    pub fn records(&self) -> Vec<PeerRecord> {
        self.shared.records()
    }

    /// The network side's state.
    pub fn status(&self) -> NetStatus {
        self.shared.status()
    }

    /// Cuts `node` off for good: ends its connection, refuses it in both directions, also after a restart. Fails with
    /// `busy` when thousands are blocked already, and with `internal error` when the block holds, but could not be
    /// written to the peer store. The same is true of the next two.
    pub async fn block(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.block(node).await
    }

    /// Undoes [`Self::block`].
    pub async fn unblock(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.unblock(node).await
    }

    /// Ends the connection with `node` and drops all that is remembered of it, but a block.
    pub async fn forget(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.forget(node).await
    }

    /// Likely causes why `node` was not reached, ranked, then the trace, one line an attempt.
    pub fn explain(&self, node: NodeId) -> (Vec<Cause>, Vec<String>) {
        self.shared.explain(&node)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.shared.events.subscribe()
    }

    /// The transport below, for paths through tunnels.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// Tells all peers, ends everything, returns when they were told or at `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.shared.stop();
        let code = ErrorCode::ShuttingDown;
        let limit = deadline.saturating_duration_since(Instant::now());
        self.shared.transport.close(code.number(), code.text().as_bytes(), limit).await;
        // Whoever did so all the time was stopped, perhaps before it saw the latest.
        self.shared.write_changed();
        let limit = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(limit, self.shared.flush()).await.ok();
    }
}
