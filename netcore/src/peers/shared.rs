//! The state behind [`super::Peers`] and what happens to it: connections made, kept, replaced and ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polypeer_ipc_protocol::admin::{NetStatus, PeerRecord, PeerState, SourceStatus};
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{Connection, ConnectionError, VarInt};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};

use super::book::{Book, Entry, Source};
use super::redial::Redial;
use super::settle::{self, Side};
use super::store::{Loaded, Store, StoreError};
use super::table::{Table, Verdict, Wanted};
use super::trace::Traces;
use super::{Established, MAX_EVENTS, OnEstablished, PeerEvent, PeersConfig, dialer};
use crate::discovery::lan::{self, LanConfig, LanEvent};
use crate::transport::path::plain;
use crate::transport::{DialError, Link, Route, Transport};

/// Handshakes with strangers at once; the next ones must first prove their address, then are refused.
const MAX_HANDSHAKES: usize = 256;
/// For a stranger's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Peers dialed by ourselves (remembered, found) only while fewer than this are connected.
const ENOUGH_PEERS: usize = 128;
/// Dials under way beyond which nobody who was found is dialed: anybody on the local network can announce any number of
/// nodes. Those announced again later are.
const MAX_FOUND_DIALS: usize = 32;
/// How long the path of an ended connection is kept for its last packets.
const LINGER: Duration = Duration::from_secs(3);
/// What a running dial may be told before it looks.
const MAX_MESSAGES: usize = 16;

type Waiter = oneshot::Sender<Result<Connection, Failure>>;

/// A connection in use.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) link: Link,
    since: Instant,
    source: Source,
}

/// What a running dial is told.
#[derive(Debug)]
pub(super) enum DialMessage {
    /// More places to try.
    More(Vec<SocketAddr>),
    /// A connection with that peer is in use.
    Connected,
}

/// What [`Shared::begin`] gives a caller.
pub(super) enum Begun {
    Live(Connection),
    Wait(oneshot::Receiver<Result<Connection, Failure>>),
}

/// Everything that changes, under one lock.
pub(super) struct State {
    pub(super) table: Table<Live, Waiter>,
    pub(super) book: Book,
    pub(super) traces: Traces,
    pub(super) redial: Redial,
    dials: HashMap<NodeId, mpsc::Sender<DialMessage>>,
    /// UDP bytes of ended connections, sent and received; only for nodes in the book.
    totals: HashMap<NodeId, (u64, u64)>,
    found: HashMap<Source, (u64, Instant)>,
    warnings: Vec<String>,
    lan_problem: Option<String>,
    is_open: bool,
}

pub(super) struct Shared {
    pub(super) me: NodeId,
    pub(super) transport: Transport,
    pub(super) events: broadcast::Sender<PeerEvent>,
    store: Store,
    pub(super) config: PeersConfig,
    on_established: OnEstablished,
    runtime: Handle,
    state: Mutex<State>,
    redial_changed: Notify,
    stopping: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(
        config: PeersConfig,
        transport: Transport,
        on_established: OnEstablished,
        loaded: Loaded,
    ) -> Self {
        let mut book = Book::default();
        let mut redial = Redial::default();
        let now = Instant::now();
        // The most recently seen come first and are kept first.
        for (node, entry) in loaded.peers.into_iter().rev() {
            if entry.remembered && !entry.blocked {
                redial.schedule(node, now, jitter());
            }
            book.restore(node, entry);
        }
        let warnings = loaded.warnings;
        let state = State {
            table: Table::default(),
            book,
            traces: Traces::default(),
            redial,
            dials: HashMap::new(),
            totals: HashMap::new(),
            found: HashMap::new(),
            warnings,
            lan_problem: None,
            is_open: false,
        };
        Self {
            me: config.identity.node(),
            transport,
            events: broadcast::Sender::new(MAX_EVENTS),
            store: loaded.store,
            config,
            on_established,
            runtime: Handle::current(),
            state: Mutex::new(state),
            redial_changed: Notify::new(),
            stopping: watch::Sender::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().is_open, true) {
            return;
        }
        self.transport.open();
        self.spawn(Self::accept_all);
        self.spawn(Self::redial_all);
        if self.config.lan {
            self.spawn(Self::look_around);
        }
    }

    /// Runs `task` until it ends or everything stops.
    pub(super) fn spawn<F, T>(self: &Arc<Self>, task: F)
    where
        F: FnOnce(Arc<Self>) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut stopping = self.stopping.subscribe();
        let task = task(Arc::clone(self));
        self.runtime.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }

    /// Ends all tasks; those who wait for a connection are told.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
        let mut state = self.lock();
        let dialed: Vec<_> = state.dials.drain().map(|(node, _)| node).collect();
        let waiters: Vec<_> = dialed.iter().flat_map(|node| state.table.dial_ended(node)).collect();
        drop(state);
        for waiter in waiters {
            waiter.send(Err(ErrorCode::ShuttingDown.into())).ok();
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn accept_all(self: Arc<Self>) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        while let Some(incoming) = self.transport.incoming().await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            // Under load an address is made to prove itself before anything is computed for it.
            if handshakes.available_permits() < MAX_HANDSHAKES / 2 && !incoming.remote_address_validated() {
                incoming.retry().ok();
                continue;
            }
            self.spawn(|shared| async move {
                let from = incoming.remote_address();
                match tokio::time::timeout(HANDSHAKE, shared.transport.accept(incoming)).await {
                    Ok(Ok(link)) => {
                        if let Err(error) = shared.settle(link, Side::Acceptor, Source::Incoming).await {
                            tracing::debug!(%from, %error, "incoming connection not kept");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "incoming connection failed"),
                    Err(_) => tracing::debug!(%from, "incoming connection took too long"),
                }
                drop(permit);
            });
        }
    }

    /// Agrees with the peer on keeping this connection, then puts it to use. The error is what a dial's trace shows;
    /// `Refused` with `superseded`: another connection is the one kept.
    pub(super) async fn settle(self: &Arc<Self>, link: Link, side: Side, source: Source) -> Result<(), DialError> {
        let node = link.node;
        let entered = {
            let mut state = self.lock();
            if self.is_stopping() {
                Err(ErrorCode::ShuttingDown)
            } else if node == self.me {
                Err(ErrorCode::BadArgument)
            } else if state.book.is_blocked(&node) {
                Err(ErrorCode::Blocked)
            } else {
                state.table.enter(node, random_tag()).ok_or(ErrorCode::Busy)
            }
        };
        let tag = entered.map_err(|code| {
            close(&link.connection, code);
            DialError::Refused { code: code.number().into() }
        })?;
        let decider = self.me < node;
        let mut kept = None;
        let live = Live { connection: link.connection.clone(), link: link.clone(), since: Instant::now(), source };
        let decide = |peer_tag| {
            let mut state = self.lock();
            let verdict = if decider {
                let alive = |live: &Live| live.connection.close_reason().is_none();
                state.table.decide(node, peer_tag, live, alive)
            } else {
                state.table.keep(node, peer_tag, live)
            };
            match verdict {
                Verdict::Kept { number, replaced } => {
                    kept = Some((number, replaced));
                    true
                }
                Verdict::Superfluous => false,
            }
        };
        let exchange = settle::settle(&link.connection, side, decider, tag, decide);
        let result = tokio::time::timeout(settle::LIMIT, exchange).await.unwrap_or(Err(DialError::NoAnswer));
        let outcome = match (result, kept) {
            (Ok(true), Some((number, replaced))) => {
                self.establish(&link, side, source, number, replaced);
                Ok(())
            }
            (Ok(_), _) => {
                close(&link.connection, ErrorCode::Superseded);
                Err(DialError::Refused { code: ErrorCode::Superseded.number().into() })
            }
            (Err(error), kept) => {
                close(&link.connection, ErrorCode::TimedOut);
                if let Some((number, _)) = kept {
                    self.lock().table.ended(&node, number, random_tag());
                }
                Err(error)
            }
        };
        self.lock().table.leave(&node);
        outcome
    }

    /// Tells everybody of a connection that both sides keep.
    fn establish(self: &Arc<Self>, link: &Link, side: Side, source: Source, number: u64, replaced: Option<Live>) {
        let node = link.node;
        if let Some(replaced) = replaced {
            self.count(&node, &replaced.connection);
            close(&replaced.connection, ErrorCode::Superseded);
            let failure = Failure::new(ErrorCode::ConnectionLost, format!("{node} connected anew"));
            self.events.send(PeerEvent::Down(node, failure)).ok();
        }
        (self.on_established)(Established {
            node,
            connection: link.connection.clone(),
            outgoing: side == Side::Dialer,
            path: link.path.clone(),
        });
        let (waiters, blocked) = {
            let mut state = self.lock();
            let address = match link.path.route() {
                Route::Direct(address) => Some(address),
                Route::Tunnel { .. } => None,
            };
            state.book.connected(node, address, source, unix_now());
            if let Some(entry) = state.book.get(&node) {
                self.store.put(node, entry.clone());
            }
            state.redial.remove(&node);
            state.note_found(source);
            if let Some(dial) = state.dials.get(&node) {
                // Full only if it has not looked for a long time, and then it will end by itself.
                dial.try_send(DialMessage::Connected).ok();
            }
            (state.table.ready(&node, number), state.book.is_blocked(&node))
        };
        for waiter in waiters {
            waiter.send(Ok(link.connection.clone())).ok();
        }
        self.events.send(PeerEvent::Up(node)).ok();
        let link = link.clone();
        self.spawn(move |shared| shared.watch(link, number));
        if blocked {
            // The operator was faster than the peer.
            self.cut_off(&node);
        }
    }

    /// Waits for the end of a connection and tells of it.
    async fn watch(self: Arc<Self>, link: Link, number: u64) {
        let reason = link.connection.closed().await;
        let node = link.node;
        let was_live = {
            let mut state = self.lock();
            let was_live = state.table.ended(&node, number, random_tag());
            if was_live && state.book.get(&node).is_some_and(|entry| entry.remembered && !entry.blocked) {
                state.redial.schedule(node, Instant::now(), jitter());
            }
            was_live
        };
        if was_live {
            self.count(&node, &link.connection);
            self.redial_changed.notify_one();
            self.events.send(PeerEvent::Down(node, why(&reason))).ok();
        }
        tokio::time::sleep(LINGER).await;
        link.path.release();
    }

    /// Adds the bytes of an ended connection to its peer's.
    fn count(&self, node: &NodeId, connection: &Connection) {
        let stats = connection.stats();
        let mut state = self.lock();
        if state.book.get(node).is_some() {
            let total = state.totals.entry(*node).or_default();
            total.0 += stats.udp_tx.bytes;
            total.1 += stats.udp_rx.bytes;
        }
        let State { totals, book, .. } = &mut *state;
        totals.retain(|node, _| book.get(node).is_some());
    }

    pub(super) fn begin(self: &Arc<Self>, node: NodeId, hints: &[SocketAddr]) -> Result<Begun, Failure> {
        let (waiter, result) = oneshot::channel();
        let connection = self.want(node, hints, Source::Ticket, Some(waiter))?;
        Ok(connection.map_or(Begun::Wait(result), Begun::Live))
    }

    /// Starts or joins a dial, unless there is a connection already.
    fn want(
        self: &Arc<Self>,
        node: NodeId,
        hints: &[SocketAddr],
        source: Source,
        waiter: Option<Waiter>,
    ) -> Result<Option<Connection>, Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "that is this node's own id"));
        }
        let mut state = self.lock();
        if self.is_stopping() || !state.is_open {
            return Err(ErrorCode::ShuttingDown.into());
        }
        if state.book.is_blocked(&node) {
            let text = format!("{node} is blocked on this node; run: polypeer peers unblock {node}");
            return Err(Failure::new(ErrorCode::Blocked, text));
        }
        for hint in hints {
            state.book.learn(node, *hint, source);
        }
        let mut candidates = hints.to_vec();
        candidates.extend(state.book.candidates(&node));
        match state.table.want(node, waiter, random_tag()) {
            Wanted::Live(live, _) => Ok(Some(live.connection)),
            Wanted::Full(_) => {
                Err(Failure::new(ErrorCode::Busy, format!("{node}: too many peers, or callers waiting for one")))
            }
            Wanted::Waiting => {
                if let Some(dial) = state.dials.get(&node).filter(|_| !hints.is_empty()) {
                    dial.try_send(DialMessage::More(hints.to_vec())).ok();
                }
                Ok(None)
            }
            Wanted::Dial => {
                let (messages, inbox) = mpsc::channel(MAX_MESSAGES);
                state.dials.insert(node, messages);
                drop(state);
                self.spawn(move |shared| dialer::dial(shared, node, candidates, inbox, source));
                Ok(None)
            }
        }
    }

    /// A dial is over: tells those who still wait, and plans the next one if the peer is remembered.
    pub(super) fn dial_ended(&self, node: &NodeId, result: Result<(), Failure>) {
        let mut state = self.lock();
        state.dials.remove(node);
        let connection = state.table.live(node).map(|live| live.connection.clone());
        let waiters = state.table.dial_ended(node);
        if connection.is_none() {
            state.redial.failed(node, Instant::now(), jitter());
        }
        drop(state);
        self.redial_changed.notify_one();
        let failure = result.err().unwrap_or_else(|| ErrorCode::ConnectionLost.into());
        for waiter in waiters {
            waiter.send(connection.clone().ok_or_else(|| failure.clone())).ok();
        }
    }

    pub(super) fn still_dialing(&self, node: &NodeId) -> Failure {
        let lines = self.lock().traces.lines(node);
        let latest = lines.last().map(|line| format!("; latest attempt: {line}")).unwrap_or_default();
        Failure::new(ErrorCode::TimedOut, format!("{node} did not answer in time{latest}"))
    }

    async fn redial_all(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let (due, next) = {
                let mut state = self.lock();
                let enough = state.table.connected().count() >= ENOUGH_PEERS;
                let due = if enough { None } else { state.redial.poll(now) };
                let next = if enough { Some(now + Duration::from_secs(60)) } else { state.redial.next() };
                (due, next)
            };
            if let Some(node) = due {
                match self.want(node, &[], Source::Remembered, None) {
                    Ok(None) => {}
                    Ok(Some(_)) => self.lock().redial.remove(&node),
                    Err(_) => self.lock().redial.failed(&node, now, jitter()),
                }
                continue;
            }
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.redial_changed.notified() => {}
            }
        }
    }

    /// Looks for nodes on the local network; each one found is dialed to see whether it is true.
    async fn look_around(self: Arc<Self>) {
        let bound = self.transport.local_addresses();
        let config = LanConfig { node: self.me, network: self.config.network.clone(), bound };
        let report = |event| match event {
            LanEvent::Found(node, addresses) => self.found(node, &addresses, Source::Lan),
            LanEvent::Problem(problem) => {
                tracing::warn!(problem, "local network discovery");
                self.lock().lan_problem = Some(problem);
            }
            LanEvent::Working => self.lock().lan_problem = None,
        };
        lan::run(config, report).await;
    }

    /// A node was found, which may be wrong: dials it to see, unless enough peers are connected.
    fn found(self: &Arc<Self>, node: NodeId, addresses: &[SocketAddr], source: Source) {
        let usable: Vec<_> = addresses.iter().copied().filter(|address| self.transport.reaches(*address)).collect();
        let dial = {
            let mut state = self.lock();
            for address in &usable {
                state.book.learn(node, *address, source);
            }
            state.table.live(&node).is_none()
                && state.dials.len() < MAX_FOUND_DIALS
                && state.table.connected().count() < ENOUGH_PEERS
        };
        if dial
            && !usable.is_empty()
            && let Err(error) = self.want(node, &usable, source, None)
        {
            tracing::debug!(%node, %error, "not dialing a node that was found");
        }
    }

    pub(super) fn learned(&self, node: NodeId, addresses: &[SocketAddr]) {
        let mut state = self.lock();
        let live = state.table.live(&node).map(|live| live.connection.remote_address());
        let local = live.is_some_and(|address| plain(address).ip().is_loopback());
        let mut changed = false;
        for address in addresses.iter().filter(|address| local || !address.ip().is_loopback()) {
            changed |= state.book.learn(node, *address, Source::Peer);
        }
        if changed && let Some(entry) = state.book.get(&node).filter(|entry| entry.remembered) {
            self.store.put(node, entry.clone());
        }
    }

    fn cut_off(&self, node: &NodeId) {
        let live = self.lock().table.live(node).cloned();
        if let Some(live) = live {
            close(&live.connection, ErrorCode::Blocked);
        }
    }

    pub(super) async fn block(&self, node: NodeId) -> Result<(), Failure> {
        let entry = {
            let mut state = self.lock();
            if !state.book.set_blocked(node, true) {
                return Err(Failure::new(ErrorCode::Busy, "too many nodes are blocked; unblock some first"));
            }
            state.redial.remove(&node);
            state.book.get(&node).cloned()
        };
        self.cut_off(&node);
        self.write(node, entry).await
    }

    pub(super) async fn unblock(&self, node: NodeId) -> Result<(), Failure> {
        let entry = {
            let mut state = self.lock();
            state.book.set_blocked(node, false);
            state.book.get(&node).cloned()
        };
        self.write(node, entry).await
    }

    pub(super) async fn forget(&self, node: NodeId) -> Result<(), Failure> {
        let (entry, live) = {
            let mut state = self.lock();
            state.book.forget(&node);
            state.redial.remove(&node);
            state.traces.forget(&node);
            (state.book.get(&node).cloned(), state.table.live(&node).cloned())
        };
        if let Some(live) = live {
            close(&live.connection, ErrorCode::Cancelled);
        }
        self.write(node, entry).await
    }

    /// Returns when what was to be written is written.
    pub(super) async fn flush(&self) {
        self.store.flush().await;
    }

    /// Writes what is known of `node` now, and waits for the disk. Without a usable store, which the status tells of,
    /// the change holds until the process ends.
    async fn write(&self, node: NodeId, entry: Option<Entry>) -> Result<(), Failure> {
        let result = match entry {
            Some(entry) => self.store.put_now(node, entry).await,
            None => self.store.remove_now(node).await,
        };
        match result {
            Ok(()) | Err(StoreError::Unavailable) => Ok(()),
            Err(error) => Err(Failure::new(ErrorCode::Internal, format!("done, but failed to {error}"))),
        }
    }

    pub(super) fn records(&self) -> Vec<PeerRecord> {
        let state = self.lock();
        let mut nodes: Vec<NodeId> = state.book.iter().map(|(node, _)| *node).collect();
        nodes.extend(state.table.connected().map(|(node, _)| *node).filter(|node| state.book.get(node).is_none()));
        nodes.sort();
        nodes.iter().map(|node| state.record(node)).collect()
    }

    pub(super) fn status(&self) -> NetStatus {
        let state = self.lock();
        let source = |source: Source, enabled, problem: Option<&String>| SourceStatus {
            name: source.name().to_owned(),
            enabled,
            last_success_s: state.found.get(&source).map(|(_, at)| at.elapsed().as_secs()),
            found: state.found.get(&source).map_or(0, |(count, _)| *count),
            problem: problem.cloned(),
        };
        let counters = self.transport.counters();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        NetStatus {
            node: self.me,
            listen: self.transport.local_addresses().iter().map(ToString::to_string).collect(),
            reach: "unknown".into(),
            connected: state.table.connected().count() as u64,
            known: state.book.iter().filter(|(_, entry)| !entry.blocked).count() as u64,
            sources: vec![
                source(Source::Remembered, true, self.store.problem().as_ref()),
                source(Source::Lan, self.config.lan, state.lan_problem.as_ref()),
            ],
            sent_bytes: count(&counters.sent_bytes),
            received_bytes: count(&counters.received_bytes),
            counters: vec![
                ("strange datagrams".into(), count(&counters.strange)),
                ("unroutable datagrams".into(), count(&counters.unroutable)),
            ],
            warnings: state.warnings.clone(),
        }
    }
}

impl State {
    fn note_found(&mut self, source: Source) {
        let (count, at) = self.found.entry(source).or_insert((0, Instant::now()));
        *count += 1;
        *at = Instant::now();
    }

    fn record(&self, node: &NodeId) -> PeerRecord {
        let entry = self.book.get(node);
        let live = self.table.live(node);
        let stats = live.map(|live| live.connection.stats());
        let (sent, received) = self.totals.get(node).copied().unwrap_or_default();
        let since_seen = || entry?.seen.map(|seen| unix_now().saturating_sub(seen));
        let mut sources = entry.map(Entry::sources).unwrap_or_default();
        if let Some(name) = live.map(|live| live.source.name().to_owned()).filter(|name| !sources.contains(name)) {
            sources.push(name);
        }
        PeerRecord {
            node: *node,
            state: match (live, entry.is_some_and(|entry| entry.blocked)) {
                (_, true) => PeerState::Blocked,
                (Some(_), false) => PeerState::Connected,
                (None, false) => PeerState::Known,
            },
            path: live.map(|live| live.link.path.route().kind()),
            address: match live {
                Some(live) => Some(live.link.path.route().address().to_string()),
                None => entry.and_then(|entry| entry.addresses.first()).map(|known| known.address.to_string()),
            },
            rtt_us: live.map(|live| live.connection.rtt().as_micros() as u64),
            since_s: live.map(|live| live.since.elapsed().as_secs()).or_else(since_seen),
            sources,
            protocols: Vec::new(),
            sent_bytes: sent + stats.map_or(0, |stats| stats.udp_tx.bytes),
            received_bytes: received + stats.map_or(0, |stats| stats.udp_rx.bytes),
        }
    }
}

fn close(connection: &Connection, code: ErrorCode) {
    connection.close(VarInt::from_u32(code.number()), code.text().as_bytes());
}

/// The end of a connection, as a failure.
fn why(reason: &ConnectionError) -> Failure {
    match reason {
        ConnectionError::ApplicationClosed(close) => match u32::try_from(close.error_code.into_inner()) {
            Ok(code) if ErrorCode::from_number(code).is_some() => {
                Failure { code, message: format!("the peer closed the connection: {}", describe(code)) }
            }
            _ => Failure::new(ErrorCode::ConnectionLost, "the peer closed the connection"),
        },
        ConnectionError::TimedOut => Failure::new(ErrorCode::ConnectionLost, "the peer fell silent"),
        ConnectionError::Reset => Failure::new(ErrorCode::ConnectionLost, "the peer restarted"),
        ConnectionError::LocallyClosed => Failure::new(ErrorCode::ConnectionLost, "closed by this node"),
        other => Failure::new(ErrorCode::ConnectionLost, other.to_string()),
    }
}

fn random_tag() -> u64 {
    let mut tag = [0; 8];
    getrandom::fill(&mut tag).expect("the system gives randomness");
    u64::from_le_bytes(tag)
}

/// From 0 to 1.
fn jitter() -> f64 {
    random_tag() as f64 / u64::MAX as f64
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
