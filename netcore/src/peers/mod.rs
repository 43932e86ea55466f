//! The connections to peers: dials, incoming connections, the tie-break, remembered and blocked peers.
//!
//! The node holds [`Peers`] and asks it for connections; it gets each new one once, through the callback given to
//! [`Peers::bind`]. Below, [`crate::transport`] makes single attempts. [`polypeer_engine::peers`] decides; `connect`,
//! `accept`, `life`, `effects` and `operator` drive it through `state`: one lock around all state, which is never held
//! across an await, and tasks on the caller's runtime. [`store`] keeps `peers.db`.
//!
//! Each connection begins with the exchange of `tie_break` on its first bidirectional stream. When the callback gets a
//! connection, that stream is used up, and the other node has agreed to keep the connection.

mod accept;
mod config;
mod connect;
mod dial_unknown;
mod dialer;
mod effects;
mod event;
mod life;
mod local;
mod operator;
mod state;
pub mod store;
mod tie_break;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::address::Zone;
use polypeer_engine::peers::clocks::ClockOff;
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

/// Most events queued for a slow listener. One that misses events gets their number (`RecvError::Lagged`) and can read
/// [`Peers::records`] instead.
const MAX_EVENTS: usize = 1024;

/// A handle to the connections to peers; cheap to clone. When the last one is dropped, all tasks stop, without the
/// orderly end of [`Peers::close`].
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// Stops the tasks, which hold `Shared` themselves, when the last handle is dropped.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A use of a connection, until it is dropped; see [`Peers::keep`].
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
        let manager = &mut self.shared.lock().manager;
        let before = manager.next_timeout();
        manager.release(clock::now(), &self.node);
        if manager.next_timeout() != before {
            self.shared.manager_changed.notify_one();
        }
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keep").field(&self.node).finish()
    }
}

impl Peers {
    /// Binds the sockets and loads the remembered peers. Accepts and dials nothing before [`Self::open`]. Must be
    /// called within the runtime on which the node's tasks are to run.
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

    /// Sets the callback for query connections, once. Without one they are refused.
    pub fn answer_queries(&self, on_query: OnQuery) {
        let _ = self.shared.on_query.set(on_query);
    }

    /// Starts to accept connections and to dial remembered peers.
    pub fn open(&self) {
        self.shared.open();
    }

    /// This node's id.
    pub fn node(&self) -> NodeId {
        self.shared.me
    }

    /// Returns the connection with `node`, or dials it if there is none: at `hints`, which the operator, a plugin or a
    /// ticket named, and at all other known addresses. All callers share one dial, which goes on when a caller stops
    /// waiting.
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

    /// [`Self::connect`] for hints that `source` named; the connection counts for that source.
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
        self.shared.lock().table.live(node).map(|live| live.connection.quic.clone())
    }

    /// Adds addresses that `node`, whose packets come from `ip`, says of itself. Only those of zones that a peer at
    /// `ip` may be told are used: a loopback address would mean this machine, and a private one of a public peer
    /// another network.
    pub fn learned(&self, node: NodeId, ip: IpAddr, addresses: &[SocketAddr]) {
        self.shared.learned(node, addresses, |zone| zone.is_told_to(Zone::of(ip)));
    }

    /// Adds addresses of `node` from its address record, which was looked up and checked; all but loopback ones are
    /// used.
    pub fn located(&self, node: NodeId, addresses: &[SocketAddr]) {
        self.shared.learned(node, addresses, |zone| zone != Zone::Loopback);
    }

    /// Adds unverified `addresses` of `node`, which `source` named. The manager dials the node now or later, or not at
    /// all.
    pub fn found(&self, node: NodeId, addresses: &[SocketAddr], source: Source) {
        self.shared.found(node, addresses, source);
    }

    /// Connects to the node at `address`, which `source` named without a node id. Returns its id if the connection is
    /// kept, or if there was one already.
    pub async fn dial_seed(&self, address: SocketAddr, source: Source) -> Result<NodeId, DialError> {
        self.shared.dial_seed(address, source).await
    }

    /// All connected peers.
    pub fn connected(&self) -> Vec<NodeId> {
        self.shared.lock().table.connected().map(|(node, _)| *node).collect()
    }

    /// The source that led to the connection with `node`, and the address that its packets come from now.
    pub fn provenance(&self, node: &NodeId) -> Option<(Source, SocketAddr)> {
        self.shared.provenance(node)
    }

    /// The number of remembered peers that are not blocked, or the problem of the peer store.
    pub fn remembered(&self) -> Result<usize, String> {
        self.shared.remembered()
    }

    /// The number of connections that `source` led to, and when the last one was made.
    pub fn found_by(&self, source: Source) -> Option<(u64, Instant)> {
        self.shared.lock().found.get(&source).copied()
    }

    /// Marks the connection with `node`, present or future, as in use for as long as the result lives: it is not
    /// disconnected to make room or as unused.
    pub fn keep(&self, node: NodeId) -> Keep {
        Keep::new(&self.shared, node)
    }

    /// Adds `event` to the score of `node`. A peer whose score falls too low is banned.
    pub fn score(&self, node: NodeId, event: ScoreEvent) {
        self.shared.score(node, event, None, None);
    }

    /// `node` breached the protocol; the operator reads `reason`. The caller must end the connection.
    pub fn misbehaved(&self, node: NodeId, reason: &str) {
        self.shared.score(node, ScoreEvent::Misbehaved, Some(reason), None);
    }

    /// [`Self::misbehaved`] for a node that need not be connected; its packets came from `address`.
    pub fn misbehaved_at(&self, node: NodeId, address: SocketAddr, reason: &str) {
        self.shared.score(node, ScoreEvent::Misbehaved, Some(reason), Some(plain(address)));
    }

    /// Fails with `blocked` if `node` is blocked, and with `peer misbehaved` while it is banned.
    pub fn check(&self, node: &NodeId) -> Result<(), Failure> {
        self.shared.check(node)
    }

    /// Protects `node` or ends its protection, also for later runs. Fails with `busy` if the limit of protected nodes
    /// is reached, with `bad argument` for this node itself, and otherwise like [`Self::block`].
    pub async fn protect(&self, node: NodeId, protected: bool) -> Result<(), Failure> {
        self.shared.protect(node, protected).await
    }

    /// The clock of the connected peer `node`, whose packets come from `ip`, was `unix` (Unix seconds) just now.
    /// Returns whether that is taken; it is ignored if the last one was less than a minute ago.
    pub(crate) fn clock_said(&self, node: NodeId, ip: IpAddr, unix: u64) -> bool {
        let now = clock::now();
        let mut state = self.shared.lock();
        let is_taken = state.table.live(&node).is_some() && state.clocks.handle_said(now, node, ip, unix);
        let news = if is_taken { state.clocks.news(now) } else { None };
        drop(state);
        state::warn(news);
        is_taken
    }

    /// How this node's clock differs from those of its peers, if it does.
    pub(crate) fn clock_off(&self) -> Option<ClockOff> {
        self.shared.lock().clocks.off(clock::now())
    }

    /// Another process announced this node's id on the local network, at `address`.
    pub(crate) fn twin_announced(&self, address: SocketAddr) {
        let mut state = self.shared.lock();
        state.twins.handle_announced(clock::now(), address);
        let news = state.twins.news(clock::now());
        drop(state);
        state::warn(news);
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

    /// The addresses of this node that a peer at `ip`, which sees this node at `own`, is told: those of the ticket that
    /// are valid for it. Of public ones it is told those that peers have dialed back, those on which the operator
    /// listens explicitly, and `own`, which it knows. Others would reveal this machine's lines and tunnels.
    pub(crate) fn addresses_for(&self, ip: IpAddr, own: Option<IpAddr>) -> Vec<SocketAddr> {
        let confirmed = self.shared.lock().confirmed.clone();
        let bound = self.shared.transport.local_addresses();
        let known = |address: &SocketAddr| {
            confirmed.contains(address) || bound.contains(address) || own == Some(address.ip().to_canonical())
        };
        local::told(self.ticket().addresses, ip, own, known)
    }

    /// Sets the public addresses at which peers have dialed this node back; behind a NAT they are not this machine's
    /// own.
    pub(crate) fn set_confirmed(&self, addresses: Vec<SocketAddr>) {
        self.shared.lock().confirmed = addresses;
    }

    /// All peers: connected, known and blocked. The caller fills in `protocols`.
    pub fn records(&self) -> Vec<PeerRecord> {
        self.shared.records()
    }

    /// The part of the status that concerns peers.
    pub fn status(&self) -> NetStatus {
        self.shared.status()
    }

    /// Blocks `node`: disconnects it and refuses it in both directions, also after a restart. Fails with `busy` if
    /// there is no room for one more blocked node, and with `internal error` if the block holds, but could not be
    /// written to the peer store. The latter is true of the next two, too.
    pub async fn block(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.block(node).await
    }

    /// Lifts a block and a ban of `node`.
    pub async fn unblock(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.unblock(node).await
    }

    /// Disconnects `node` and deletes all that is remembered of it, except a block.
    pub async fn forget(&self, node: NodeId) -> Result<(), Failure> {
        self.shared.forget(node).await
    }

    /// Likely causes why `node` is not connected, the most telling first; and its trace, one line per attempt.
    pub fn explain(&self, node: NodeId) -> (Vec<Cause>, Vec<String>) {
        self.shared.explain(&node)
    }

    /// A receiver of all events from now on.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.shared.events.subscribe()
    }

    /// The transport below, for paths through tunnels.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// Disconnects all peers with `shutting down`, stops all tasks and writes the peer store; returns when that is
    /// done, at the latest at `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.shared.stop();
        let code = ErrorCode::ShuttingDown;
        let limit = deadline.saturating_duration_since(Instant::now());
        self.shared.transport.close(code.number(), code.text().as_bytes(), limit).await;
        // The task that writes changes was stopped, perhaps before it saw the latest ones.
        self.shared.write_changed();
        let limit = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(limit, self.shared.finish()).await.ok();
    }
}
