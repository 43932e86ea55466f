//! The state behind [`super::Peers`], and its tasks. What changes it is in [`super::connect`] (requests for
//! connections), [`super::accept`] (incoming handshakes), [`super::life`] (their life), [`super::effects`] (the
//! manager's actions) and [`super::operator`] (the operator's requests).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use polypeer_engine::peers::book::Book;
use polypeer_engine::peers::clocks::Clocks;
use polypeer_engine::peers::handshake_gate::HandshakeGate;
use polypeer_engine::peers::manager::Manager;
use polypeer_engine::peers::offenders::Offenders;
use polypeer_engine::peers::table::Table;
use polypeer_engine::peers::trace::Traces;
use polypeer_engine::peers::twins::Twins;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::VarInt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::store::{Loaded, Store};
use super::{MAX_EVENTS, OnEstablished, OnQuery, PeerEvent, PeersConfig};
use crate::clock;
use crate::random;
use crate::transport::{Connection, Transport};

/// The sender for the answer to a caller that waits for a connection.
pub(super) type Waiter = oneshot::Sender<Result<quinn::Connection, Failure>>;

/// A connection in use.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) since: Instant,
    pub(super) source: Source,
}

/// A message to a dial in progress.
#[derive(Debug)]
pub(super) enum DialMessage {
    /// Further addresses to try.
    More(Vec<SocketAddr>),
    /// A connection with that peer is in use.
    Connected,
}

/// The result of [`Shared::begin`]: a connection, or a receiver for one.
pub(super) enum Begun {
    Live(quinn::Connection),
    Wait(oneshot::Receiver<Result<quinn::Connection, Failure>>),
}

/// Counters of incoming handshakes that led to no connection.
#[derive(Debug, Default)]
pub(super) struct HandshakeCounts {
    /// Asked to prove the address first.
    pub(super) to_prove: u64,
    /// Refused by a rate limit.
    pub(super) rate: u64,
    /// Refused because too many were in progress.
    pub(super) half_open: u64,
    /// Begun, and failed because of what the other end sent.
    pub(super) failed: u64,
    /// Begun, and not finished by the other end.
    pub(super) unfinished: u64,
}

/// All mutable state, under one lock.
pub(super) struct State {
    pub(super) table: Table<Live, Waiter>,
    pub(super) manager: Manager,
    pub(super) handshake_gate: HandshakeGate,
    pub(super) handshakes: HandshakeCounts,
    pub(super) offenders: Offenders,
    pub(super) traces: Traces,
    pub(super) clocks: Clocks,
    pub(super) twins: Twins,
    pub(super) dials: HashMap<NodeId, mpsc::Sender<DialMessage>>,
    /// UDP bytes of ended connections, sent and received; only for nodes in the book.
    pub(super) totals: HashMap<NodeId, (u64, u64)>,
    /// Connections that each source led to, and when the last one was made.
    pub(super) found: HashMap<Source, (u64, Instant)>,
    pub(super) warnings: Vec<String>,
    /// Public addresses that peers have dialed back.
    pub(super) confirmed: Vec<SocketAddr>,
    pub(super) is_open: bool,
}

pub(super) struct Shared {
    pub(super) me: NodeId,
    pub(super) transport: Transport,
    pub(super) events: broadcast::Sender<PeerEvent>,
    pub(super) store: Store,
    pub(super) on_established: OnEstablished,
    pub(super) on_query: OnceLock<OnQuery>,
    runtime: Handle,
    state: Mutex<State>,
    pub(super) manager_changed: Notify,
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
        // The store lists the most valuable and most recent peers first. They are restored last, so that they stay.
        for (node, entry) in loaded.peers.into_iter().rev() {
            if config.remembered || entry.blocked || entry.protected {
                book.restore(node, entry);
            }
        }
        let warnings = loaded.warnings;
        let me = config.identity.node();
        let manager = Manager::new(me, config.marks.clone(), book, random::bytes(), clock::now());
        let state = State {
            table: Table::default(),
            manager,
            handshake_gate: HandshakeGate::default(),
            handshakes: HandshakeCounts::default(),
            offenders: Offenders::default(),
            traces: Traces::default(),
            clocks: Clocks::default(),
            twins: Twins::default(),
            dials: HashMap::new(),
            totals: HashMap::new(),
            found: HashMap::new(),
            warnings,
            confirmed: Vec::new(),
            is_open: false,
        };
        Self {
            me,
            transport,
            events: broadcast::Sender::new(MAX_EVENTS),
            store: loaded.store,

            on_established,
            on_query: OnceLock::new(),
            runtime: Handle::current(),
            state: Mutex::new(state),
            manager_changed: Notify::new(),
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
        self.spawn(Self::manage_all);
        self.spawn(Self::follow_moves);
    }

    /// Runs `task` until it ends or [`Self::stop`] is called.
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

    /// Ends all tasks; callers that wait for a connection get `shutting down`.
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

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

impl State {
    pub(super) fn note_found(&mut self, source: Source) {
        let (count, at) = self.found.entry(source).or_insert((0, Instant::now()));
        *count += 1;
        *at = Instant::now();
    }
}

/// Logs a warning if there is one. To be called without the lock: the log may wait for the disk.
pub(super) fn warn(news: Option<impl std::fmt::Display>) {
    if let Some(warning) = news {
        tracing::warn!("{warning}");
    }
}

/// Closes a connection with `code` and its usual text.
/// Closes a connection with `code` and another reason.
pub(super) fn close(connection: &quinn::Connection, code: ErrorCode) {
    close_with(connection, code, code.text());
}

pub(super) fn close_with(connection: &quinn::Connection, code: ErrorCode, reason: &str) {
    connection.close(VarInt::from_u32(code.number()), reason.as_bytes());
}

/// A random tag for the tie-break, which nobody can guess.
pub(super) fn random_tag() -> u64 {
    u64::from_le_bytes(random::bytes())
}
