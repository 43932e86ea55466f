//! One simulated node: the machines of the netcore, and what its driver would keep.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Dht, QueryId};
use polypeer_engine::discovery::exchange::Exchange;
use polypeer_engine::discovery::schedule::Schedule;
use polypeer_engine::gossip::Gossip;
use polypeer_engine::keys::SharedKeys;
use polypeer_engine::peers::manager::Manager;
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};

use crate::conns::Conns;
use crate::index::NodeIndex;
use crate::net::Place;
use crate::pending::Pending;
use crate::queue::Micros;

/// How a node behaves towards others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conduct {
    /// As the netcore does.
    #[default]
    Honest,
    /// Takes part in everything, but answers questions with colluding nodes, with nothing, and with what was not asked.
    Liar,
}

/// See the module.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its signatures.
    pub keys: SharedKeys,
    /// Where it is seen from.
    pub address: SocketAddr,
    /// How far it is from others.
    pub place: Place,
    /// Whether it can be dialed.
    pub reachable: bool,
    /// How it behaves.
    pub conduct: Conduct,
    /// When it was started.
    pub born: Micros,
    /// When it had become part of the network: its first lookup of itself had ended.
    pub joined: Option<Micros>,
    /// Its machines; `None` once it has left.
    pub machines: Option<Box<Machines>>,
}

/// What runs on a node.
pub struct Machines {
    /// The DHT.
    pub dht: Dht,
    /// Publish and subscribe, where the scenario has it.
    pub gossip: Option<Gossip>,
    /// Standing links, sorted by peer.
    pub links: Vec<Link>,
    /// Whom to dial, let in and let go.
    pub manager: Manager,
    /// Query connections to others.
    pub outgoing: Conns,
    /// Query connections of others.
    pub incoming: Conns,
    /// What it tells peers of itself; empty before it was dialed back.
    pub own: Vec<Arc<AddressRecord>>,
    /// The moment of the timer in the queue that counts.
    pub wake: Option<Micros>,
    /// Measured lookups of this node, and the one that joins it.
    pub lookups: BTreeMap<QueryId, Pending>,
    /// The lookup by which it looks for peers.
    pub looking: Option<QueryId>,
    /// Lookups that gossip asked for.
    pub finding: BTreeMap<QueryId, Name>,
    /// Messages that came, with the moment.
    pub received: BTreeMap<Hash, Micros>,
    /// Which source of peers is asked when.
    pub discovery: Schedule,
    /// Records of its peers, for others.
    pub exchange: Exchange,
}

/// A standing link, as one end sees it.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The other end.
    pub peer: NodeIndex,
    /// Since when.
    pub since: Micros,
    /// When all that this end sent will have arrived.
    pub clear: Micros,
}

impl Node {
    /// Whether it is there.
    pub fn alive(&self) -> bool {
        self.machines.is_some()
    }
}

impl Machines {
    /// How many peers are remembered from before.
    pub fn remembered(&self) -> usize {
        self.manager.book().iter().filter(|(_, entry)| entry.remembered).count()
    }

    /// The link with `peer`.
    pub fn link(&mut self, peer: NodeIndex) -> Option<&mut Link> {
        let position = self.links.binary_search_by_key(&peer, |link| link.peer).ok()?;
        Some(&mut self.links[position])
    }

    /// Adds a link; an older one with the same peer stays.
    pub fn insert_link(&mut self, link: Link) -> bool {
        match self.links.binary_search_by_key(&link.peer, |link| link.peer) {
            Ok(_) => false,
            Err(position) => {
                self.links.insert(position, link);
                true
            }
        }
    }

    /// Takes a link out.
    pub fn remove_link(&mut self, peer: NodeIndex) -> Option<Link> {
        let position = self.links.binary_search_by_key(&peer, |link| link.peer).ok()?;
        Some(self.links.remove(position))
    }
}
