//! Where this node can be reached: peers dial it back, and what they reached becomes its signed address records. The
//! other side of it, dialing peers back, is here too.
//!
//! ```text
//! link (a peer is ready, or gone) ──► ReachHandle ──► driver ──► Finder ──Ask──► query ──probe/1──► a peer
//!                                                       │  ▲                                         │
//!                                                       │  └──────────────── reached ◄── Prober ◄────┘ dials
//!                                                       ▼
//!            OwnRecords ──► dht, links (Record frames), gossip, the ticket, whoever else watches `own`
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

/// The internal protocol.
pub const PROBE: &str = "probe/1";
/// Peers coming and going that the driver has not looked at: more than can come in a burst. One that is not told of is
/// merely not asked.
const MAX_COMMANDS: usize = 1024;

/// What the driver is told.
#[derive(Debug)]
enum Command {
    Up(NodeId, IpAddr),
    Down(NodeId),
}

/// What is known of this node's reach, and the way to tell of it.
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
    /// This node's records, one for each zone in which it can be dialed; and every change of them.
    pub fn own(&self) -> watch::Receiver<Vec<Arc<AddressRecord>>> {
        self.own.subscribe()
    }

    /// How it is reached from the internet.
    pub fn reach(&self) -> Reach {
        *self.reach.borrow()
    }

    /// Comings and goings the driver was not told of, as it did not keep up.
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

/// What the operator should know of it.
pub(crate) fn warning(reach: Reach) -> Option<String> {
    let text = "no peer could dial this node at a public address: it finds others and is found only by those it dials; \
                forward its UDP port on the router, or open it in the firewall";
    (reach == Reach::Private).then(|| text.to_owned())
}
