//! The state that all parts of a network core share: its keys, limits of time, counters and events. Made once by
//! [`crate::core`], which also makes the parts and hands each of them what it uses.

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

/// How far the network core has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before `Start`: nothing is accepted from anywhere.
    Waiting,
    /// Everything works.
    Open,
    /// Nothing new is accepted; what runs may end.
    Stopping,
}

/// The shared state of one network core.
pub struct Node {
    /// The node's id, which is its public key.
    pub id: NodeId,
    /// Signs as this node, and verifies any node's signatures.
    pub keys: SharedKeys,
    /// The network's name: peers of others are refused.
    pub network: String,
    /// When it was made.
    pub started: Instant,
    /// Timeouts.
    pub timings: Timings,
    /// Counts of events, by kind.
    pub counters: Counters,
    /// What each plugin used.
    pub accounts: Accounts,
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

    /// A number not used before: for streams, calls and sessions.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends the supervisor an event; dropped and counted when thousands wait already.
    pub(crate) fn tell(&self, event: AdminEvent) {
        if self.events.try_send(event).is_err() {
            self.counters.admin_events_dropped.count();
        }
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
