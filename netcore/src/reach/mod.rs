//! The reach of this node: it asks peers to dial it back, and signs address records of the addresses that they reached.
//! It also dials peers back that ask for it.
//!
//! ```text
//! link (a peer is up, or down)    ──► ReachHandle ──► driver ──► Finder ──Ask──► query ──probe/1──► a peer
//!                                                       │  ▲                                         │
//!                                                       │  └──────────────── reached ◄── Prober ◄────┘ dials
//!                                                       ▼
//!            OwnRecords ──► dht, links (Record frames), gossip, the ticket, and others that watch `own`
//! ```

pub(crate) mod driver;
pub(crate) mod prober;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::gateway::Reach;
use polypeer_ipc_protocol::ids::NodeId;
use tokio::sync::{mpsc, watch};

use crate::counters::Counter;
use prober::Prober;

/// The internal protocol of probes.
pub const PROBE: &str = "probe/1";
/// Most commands queued for the driver: more than one burst of peers that connect or disconnect. A peer whose command
/// is dropped is not asked.
const MAX_COMMANDS: usize = 1024;

/// A command to the driver: a link with a peer is ready or has ended.
#[derive(Debug)]
enum Command {
    Up(NodeId, IpAddr),
    Down(NodeId),
}

/// A handle to this node's reach: reads it, watches its records, and reports peers to the driver.
#[derive(Debug)]
pub struct ReachHandle {
    commands: mpsc::Sender<Command>,
    inbox: Mutex<Option<mpsc::Receiver<Command>>>,
    own: watch::Sender<Vec<Arc<AddressRecord>>>,
    reach: watch::Sender<Reach>,
    prober: Prober,
    dropped: Counter,
}

impl Default for ReachHandle {
    fn default() -> Self {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        Self {
            commands,
            inbox: Mutex::new(Some(inbox)),
            own: watch::Sender::new(Vec::new()),
            reach: watch::Sender::new(Reach::Unknown),
            prober: Prober::default(),
            dropped: Counter::default(),
        }
    }
}

impl ReachHandle {
    /// A receiver of this node's records, one for each zone in which it can be dialed, and of their changes.
    pub fn own(&self) -> watch::Receiver<Vec<Arc<AddressRecord>>> {
        self.own.subscribe()
    }

    /// How this node is reached from the internet.
    pub fn reach(&self) -> Reach {
        *self.reach.borrow()
    }

    /// The number of commands dropped because the driver did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// A link with a peer is ready; its packets come from `ip`.
    pub(crate) fn peer_up(&self, node: NodeId, ip: IpAddr) {
        self.tell(Command::Up(node, ip));
    }

    /// A link with a peer has ended.
    pub(crate) fn peer_down(&self, node: NodeId) {
        self.tell(Command::Down(node));
    }

    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.dropped.count();
        }
    }

    fn inbox(&self) -> Option<mpsc::Receiver<Command>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A warning for the status, if no peer could dial this node.
pub(crate) fn warning(reach: Reach) -> Option<String> {
    let text = "no peer could dial this node at a public address: it can dial others, but others cannot dial it; \
                forward its UDP port on the router, or open it in the firewall";
    (reach == Reach::Private).then(|| text.to_owned())
}
