//! How nodes come to be, and leave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::dht::Dht;
use polypeer_engine::discovery::exchange::Exchange;
use polypeer_engine::discovery::schedule::{Schedule, ScheduleConfig};
use polypeer_engine::gossip::Gossip;
use polypeer_engine::keys::SharedKeys;
use polypeer_engine::peers::book::Book;
use polypeer_engine::peers::manager::Manager;
use polypeer_engine::peers::watermarks::Marks;
use polypeer_ipc_protocol::ids::NodeId;
use rand::RngExt;

use crate::conns::Conns;
use crate::event::Event;
use crate::index::NodeIndex;
use crate::keys::SimKeys;
use crate::node::{Conduct, Machines, Node};
use crate::queue::{HOUR, Micros};
use crate::sources::SOURCES;
use crate::world::{World, seed};

/// Nodes that one node knows at most, of the 4,096 that the netcore keeps: more than it has connections, or ever dials. With
/// all of them books would be most of what a simulated network takes.
const BOOK: usize = 192;

impl World {
    /// Starts the network: `count` honest nodes one after another over `span`. The first few of them are seeds, which
    /// serve newcomers.
    pub fn populate(&mut self, count: usize, span: Micros) {
        const SEEDS: usize = 5;
        for _ in 0..SEEDS.min(count) {
            self.seeds.push(self.nodes.len() as NodeIndex);
            self.spawn(true, Conduct::Honest, None, None);
        }
        for number in SEEDS..count {
            self.start_later(span * number as Micros / count as Micros);
        }
    }

    /// An honest node starts `later`.
    pub(crate) fn start_later(&mut self, later: Micros) {
        self.queue.push(self.time() + later, Event::Start);
    }

    pub(crate) fn start(&mut self) -> NodeIndex {
        let reachable = !self.rng.random_bool(self.settings.clients);
        self.spawn(reachable, Conduct::Honest, None, None)
    }

    /// Every node that may leave gets its hour of departure: after an exponentially distributed time.
    pub(crate) fn depart_later(&mut self, node: NodeIndex) {
        if let Some(mean) = self.settings.session {
            let draw: f64 = self.rng.random();
            let stay = -(1.0 - draw).ln() * mean as f64;
            self.queue.push(self.time() + stay as Micros, Event::Leave(node));
        }
    }

    /// From now on half of the nodes are replaced by others each hour; seeds stay.
    pub fn begin_churn(&mut self) {
        self.settings.session = Some((HOUR as f64 / std::f64::consts::LN_2) as Micros);
        for node in self.alive.clone() {
            if !self.seeds.contains(&node) {
                self.depart_later(node);
            }
        }
    }

    /// A node comes to be, with this id and address if they matter.
    pub(crate) fn spawn(
        &mut self,
        reachable: bool,
        conduct: Conduct,
        id: Option<NodeId>,
        address: Option<SocketAddr>,
    ) -> NodeIndex {
        let id = id.unwrap_or_else(|| NodeId(seed(&mut self.rng)));
        let address = address.unwrap_or_else(|| self.ips.next(reachable));
        let keys: SharedKeys = Arc::new(SimKeys::new(id));
        let dht = Dht::new(Arc::clone(&keys), self.settings.dht.clone(), seed(&mut self.rng));
        let gossip = self.settings.gossip.map(|config| Gossip::new(Arc::clone(&keys), config, seed(&mut self.rng)));
        let index = self.nodes.len() as NodeIndex;
        // Seeds are what `polypeer run --seed-only` makes of a node.
        let marks = if self.seeds.contains(&index) { Marks::for_newcomers() } else { Marks::default() };
        let schedule = ScheduleConfig { enabled: SOURCES.to_vec(), low: marks.low };
        let machines = Machines {
            dht,
            gossip,
            links: Vec::new(),
            manager: Manager::new(id, marks, Book::of(BOOK), seed(&mut self.rng), self.now()),
            outgoing: Conns::default(),
            incoming: Conns::default(),
            own: Vec::new(),
            wake: None,
            lookups: BTreeMap::new(),
            looking: None,
            finding: BTreeMap::new(),
            received: BTreeMap::new(),
            discovery: Schedule::new(schedule, self.now(), seed(&mut self.rng)),
            exchange: Exchange::new(Arc::clone(&keys), seed(&mut self.rng)),
        };
        let place = self.net.place();
        let born = self.time();
        let machines = Some(Box::new(machines));
        self.nodes.push(Node { id, keys, address, place, reachable, conduct, born, joined: None, machines });
        self.by_id.insert(id, index);
        match conduct {
            Conduct::Honest => self.alive.push(index),
            Conduct::Liar => self.attackers.push(index),
        }
        self.pump(index);
        index
    }

    /// A node is gone: half of them say goodbye, the others fall silent.
    pub(crate) fn leave(&mut self, index: NodeIndex) {
        let Some(machines) = self.nodes[index as usize].machines.take() else { return };
        let id = self.nodes[index as usize].id;
        self.by_id.remove(&id);
        if let Some(position) = self.alive.iter().position(|node| *node == index) {
            self.alive.swap_remove(position);
        }
        let polite = self.rng.random();
        for link in &machines.links {
            self.end_link(index, link.peer, polite);
        }
        self.tally.left(&machines);
    }
}
