//! One simulated node: the network core's engines, and the state that their drivers keep.

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
    /// As the network core does.
    #[default]
    Honest,
    /// Takes part in everything, but answers DHT requests with colluding nodes, with nothing, or with an answer to
    /// something else.
    Liar,
}

/// A simulated node, live or gone.
pub struct Node {
    pub id: NodeId,
    pub keys: SharedKeys,
    /// Its address as others see it.
    pub address: SocketAddr,
    /// Its place in the network, which gives the delay to others.
    pub place: Place,
    /// Whether it can be dialed.
    pub reachable: bool,
    pub conduct: Conduct,
    pub born: Micros,
    /// When its first lookup of itself had ended and it had a link; `None` before.
    pub joined: Option<Micros>,
    /// `None` once it has left.
    pub machines: Option<Box<Machines>>,
}

/// Engines and connections of a live node.
pub struct Machines {
    pub dht: Dht,
    /// `None` in scenarios without gossip.
    pub gossip: Option<Gossip>,
    /// Standing links, sorted by peer.
    pub links: Vec<Link>,
    /// The network core's connection manager: which peers to dial, admit and disconnect.
    pub manager: Manager,
    /// Query connections to others.
    pub outgoing: Conns,
    /// Query connections from others.
    pub incoming: Conns,
    /// Its own address record; empty before a peer has dialed it back.
    pub own: Vec<Arc<AddressRecord>>,
    /// Time of its valid timer in the queue; earlier timers are ignored.
    pub wake: Option<Micros>,
    /// Measured lookups in progress.
    pub lookups: BTreeMap<QueryId, Pending>,
    /// The lookup that searches the DHT for peers.
    pub looking: Option<QueryId>,
    /// Lookups for subscribers, requested by gossip.
    pub finding: BTreeMap<QueryId, Name>,
    /// Gossip messages received, with the time.
    pub received: BTreeMap<Hash, Micros>,
    /// The network core's schedule of sources of peers.
    pub discovery: Schedule,
    /// Peer exchange: its peers' address records.
    pub exchange: Exchange,
}

/// A link, as one end sees it.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub peer: NodeIndex,
    pub since: Micros,
    /// When everything that this end has sent will have arrived.
    pub clear: Micros,
}

impl Node {
    /// Whether it has not left.
    pub fn alive(&self) -> bool {
        self.machines.is_some()
    }
}

impl Machines {
    /// Number of peers remembered from an earlier run.
    pub fn remembered(&self) -> usize {
        self.manager.book().iter().filter(|(_, entry)| entry.remembered).count()
    }

    /// The link to `peer`.
    pub fn link(&mut self, peer: NodeIndex) -> Option<&mut Link> {
        let position = self.links.binary_search_by_key(&peer, |link| link.peer).ok()?;
        Some(&mut self.links[position])
    }

    /// Adds a link. Returns `false` and keeps the older one if there is one to the same peer.
    pub fn insert_link(&mut self, link: Link) -> bool {
        match self.links.binary_search_by_key(&link.peer, |link| link.peer) {
            Ok(_) => false,
            Err(position) => {
                self.links.insert(position, link);
                true
            }
        }
    }

    /// Removes and returns a link.
    pub fn remove_link(&mut self, peer: NodeIndex) -> Option<Link> {
        let position = self.links.binary_search_by_key(&peer, |link| link.peer).ok()?;
        Some(self.links.remove(position))
    }
}
