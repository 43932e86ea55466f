//! The state that all parts of a network core share: keys, timeouts, counters and events. [`crate::core`] makes it
//! once; it also makes the parts and passes each of them what it uses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use polypeer_engine::keys::SharedKeys;
use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use tokio::sync::{mpsc, watch};

use crate::counters::Counters;
use crate::limits::{ADMIN_EVENTS, Timings};
use crate::peers::Peers;
use crate::plugins::account::Accounts;

/// Phase of a network core's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before `Start`: no connection or stream is accepted.
    Waiting,
    /// In normal operation.
    Open,
    /// Nothing new is accepted; open streams may end.
    Stopping,
}

/// The shared state of one network core.
pub struct Node {
    /// The node's id, which is its public key.
    pub id: NodeId,
    /// Signs as this node, and verifies any node's signatures.
    pub keys: SharedKeys,
    /// The network's name; peers of another network are disconnected.
    pub network: String,
    /// When the network core started.
    pub started: Instant,
    pub timings: Timings,
    /// Counts of events, by kind.
    pub counters: Counters,
    /// What each plugin has used.
    pub accounts: Accounts,
    peers: OnceLock<Peers>,
    phase: watch::Sender<Phase>,
    events: mpsc::Sender<AdminEvent>,
    numbers: AtomicU64,
}

impl Node {
    /// A node that waits for `Start`, and the receiver of its events for the supervisor.
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
            peers: OnceLock::new(),
            phase: watch::Sender::new(Phase::Waiting),
            events,
            numbers: AtomicU64::new(1),
        };
        (Arc::new(node), receiver)
    }

    /// Sets the node's peers, once.
    pub fn join(&self, peers: Peers) {
        let _ = self.peers.set(peers);
    }

    /// The node's peers. Fails with `unreachable` before [`Self::join`].
    pub fn peers(&self) -> Result<&Peers, Failure> {
        self.peers.get().ok_or_else(|| Failure::new(ErrorCode::Unreachable, "this node has no network"))
    }

    /// A new number for a stream, call or session; never the same twice.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends the supervisor an event. It is dropped and counted when [`ADMIN_EVENTS`] wait already.
    pub(crate) fn tell(&self, event: AdminEvent) {
        if self.events.try_send(event).is_err() {
            self.counters.admin_events_dropped.count();
        }
    }

    /// The node's phase, to wait for changes of.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Enters a later phase; an earlier one is ignored.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_modify(|current| *current = phase.max(*current));
    }

    /// Fails with `shutting down` once the node is stopping.
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
