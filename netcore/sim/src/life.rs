//! Start and end of nodes.

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

/// Peers that one node remembers; the network core keeps 4,096. This is more than it has connections or ever dials;
/// with 4,096, peer books would take most of a run's memory.
const BOOK: usize = 192;

impl World {
    /// Starts `count` honest nodes one after another over `span`. The first five are seeds.
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

    /// Schedules the start of an honest node after `later`.
    pub(crate) fn start_later(&mut self, later: Micros) {
        self.queue.push(self.time() + later, Event::Start);
    }

    pub(crate) fn start(&mut self) -> NodeIndex {
        let reachable = !self.rng.random_bool(self.settings.clients);
        self.spawn(reachable, Conduct::Honest, None, None)
    }

    /// Schedules a node's departure, after an exponentially distributed time; none if nodes stay for ever.
    pub(crate) fn depart_later(&mut self, node: NodeIndex) {
        if let Some(mean) = self.settings.session {
            let draw: f64 = self.rng.random();
            let stay = -(1.0 - draw).ln() * mean as f64;
            self.queue.push(self.time() + stay as Micros, Event::Leave(node));
        }
    }

    /// Starts churn: half of the nodes are replaced each hour; seeds stay.
    pub fn begin_churn(&mut self) {
        self.settings.session = Some((HOUR as f64 / std::f64::consts::LN_2) as Micros);
        for node in self.alive.clone() {
            if !self.seeds.contains(&node) {
                self.depart_later(node);
            }
        }
    }

    /// Starts a node, with this id and address if given.
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
        // Seeds use the watermarks of `polypeer run --seed-only`.
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

    /// Ends a node. Half of the nodes close their links, the others fall silent.
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
