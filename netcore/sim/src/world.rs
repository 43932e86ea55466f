//! The simulated world: nodes with the netcore's machines, and what happens between them. One thread, one queue, virtual
//! time, randomness from one seed.
//!
//! What nodes decide, the machines decide. The world moves their messages (`calls.rs`), their links (`links.rs`) and their
//! gossip (`talk.rs`), and starts what is measured (`lookups.rs`).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::address::AddressRecord;
use polypeer_netcore::dht::{CallFailed, CallId, Dht, DhtConfig, Key, QueryId, Request, Response};
use polypeer_netcore::discovery::exchange::Exchange;
use polypeer_netcore::discovery::schedule::{Schedule, ScheduleConfig};
use polypeer_netcore::gossip::{Frame, Gossip, GossipConfig};
use polypeer_netcore::keys::SharedKeys;
use polypeer_netcore::now::Now;
use polypeer_netcore::peers::book::{Book, Source};
use polypeer_netcore::peers::manager::{Ending, Manager};
use polypeer_netcore::peers::marks::Marks;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::attack::Accomplices;
use crate::conns::Conns;
use crate::ips::Ips;
use crate::keys::SimKeys;
use crate::lookups::{Published, Tally};
use crate::net::{Loss, Net};
use crate::node::{Conduct, Machines, Node, NodeIndex};
use crate::queue::{HOUR, Micros, Queue, SECOND};
use crate::sources::SOURCES;

/// Unix time at the start of every simulated world: 2026-01-01.
const EPOCH: u64 = 1_767_225_600;

/// Nodes that one node knows at most, of the 4,096 that the netcore keeps: more than it has connections, or ever dials. With
/// all of them books would be most of what a simulated network takes.
const BOOK: usize = 192;

/// What a world is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// What becomes of packets.
    pub loss: Loss,
    /// The part of honest nodes that cannot be dialed.
    pub clients: f64,
    /// What nodes' tables are made with.
    pub dht: DhtConfig,
    /// What nodes' gossip is made with, if there is any.
    pub gossip: Option<GossipConfig>,
    /// How many topics nodes are subscribed to.
    pub topics: usize,
    /// How long nodes stay, on average; exponentially distributed. `None`: for ever.
    pub session: Option<Micros>,
}

impl Settings {
    /// A quiet world.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            loss: Loss::None,
            clients: 1.0 / 3.0,
            dht: DhtConfig::default(),
            gossip: None,
            topics: 0,
            session: None,
        }
    }
}

/// What happens at a moment.
pub(crate) enum Event {
    /// A node's timer.
    Wake(NodeIndex),
    /// A node starts, or replaces another.
    Start,
    /// A node leaves.
    Leave(NodeIndex),
    /// A peer has dialed a node back.
    Confirmed(NodeIndex),
    /// A question arrives.
    Request(Box<Asked>),
    /// An answer arrives, or the time for it is over.
    Answer(Box<Answered>),
    /// A link stands.
    LinkUp { dialer: NodeIndex, acceptor: NodeIndex, source: Source },
    /// A dial for a link failed.
    LinkFailed { dialer: NodeIndex, id: NodeId },
    /// An end of a link notices that it is gone.
    LinkDown { node: NodeIndex, peer: NodeIndex, ending: Ending },
    /// A reply of peer exchange arrives.
    Exchanged { to: NodeIndex, from: NodeIndex, reply: Vec<u8> },
    /// A peer's own records arrive on a link.
    Own { to: NodeIndex, from: NodeIndex, records: Vec<Arc<AddressRecord>> },
    /// A gossip frame arrives.
    Frame { to: NodeIndex, from: NodeIndex, frame: Box<Frame> },
    /// An attacker starts.
    Attacker { id: Option<NodeId>, address: Option<SocketAddr> },
    /// The scenario does something.
    Task(Task),
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Wake(_) => "wake",
            Self::Start | Self::Attacker { .. } | Self::Leave(_) | Self::Confirmed(_) => "life",
            Self::Request(_) => "request",
            Self::Answer(_) => "answer",
            Self::LinkUp { .. } => "link_up",
            Self::LinkFailed { .. } => "link_failed",
            Self::LinkDown { .. } => "link_down",
            Self::Exchanged { .. } | Self::Own { .. } => "records",
            Self::Frame { .. } => "frame",
            Self::Task(_) => "task",
        }
    }
}

/// What scenarios plan ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// A lookup of a random node by another.
    Locate,
    /// A lookup of a node on the other side of a former cut.
    Across,
    /// A record is put.
    Put,
    /// A record is put whose key is near a place.
    PutNear(Key),
    /// A record that was put is looked up.
    Get,
    /// A node provides something.
    Provide,
    /// Providers of what is provided are looked up.
    Providers,
    /// A message is published.
    Publish,
    /// A victim is looked up.
    Victim,
    /// An attacker puts records.
    Spam(NodeIndex),
    /// The deadline of a message.
    Judge(usize),
}

/// A question on its way.
pub(crate) struct Asked {
    pub(crate) from: NodeIndex,
    pub(crate) to: NodeIndex,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    /// When the asker gives up.
    pub(crate) deadline: Micros,
    pub(crate) request: Request,
}

/// An answer on its way.
pub(crate) struct Answered {
    pub(crate) to: NodeIndex,
    pub(crate) from: Option<NodeIndex>,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    pub(crate) answer: Result<Response, CallFailed>,
}

/// See the module.
pub struct World {
    pub(crate) settings: Settings,
    pub(crate) queue: Queue<Event>,
    pub(crate) net: Net,
    pub(crate) rng: StdRng,
    pub(crate) nodes: Vec<Node>,
    /// Only ever asked, never gone through: its order is not the same twice.
    pub(crate) by_id: HashMap<NodeId, NodeIndex>,
    /// Honest nodes that are there.
    pub(crate) alive: Vec<NodeIndex>,
    /// Nodes that everybody knows of from a list or DNS.
    pub(crate) seeds: Vec<NodeIndex>,
    /// What was put, provided and published.
    pub(crate) published: Published,
    /// What is measured.
    pub tally: Tally,
    /// Whom scenarios look at.
    pub(crate) victims: Vec<NodeIndex>,
    /// Nodes that are not honest.
    pub(crate) attackers: Vec<NodeIndex>,
    /// What attackers answer with: their records by key.
    pub(crate) accomplices: Accomplices,
    ips: Ips,
    base: Instant,
}

impl World {
    /// One without nodes.
    pub fn new(settings: Settings) -> Self {
        let topics = settings.topics;
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let net = Net::new(seed(&mut rng), settings.loss);
        let ips = Ips::new(seed(&mut rng));
        let mut world = Self {
            queue: Queue::new(),
            net,
            rng,
            nodes: Vec::new(),
            by_id: HashMap::new(),
            alive: Vec::new(),
            seeds: Vec::new(),
            published: Published::default(),
            tally: Tally::default(),
            victims: Vec::new(),
            attackers: Vec::new(),
            accomplices: BTreeMap::new(),
            ips,
            // An hour ahead, so that a machine may look back.
            base: Instant::now() + Duration::from_secs(3600),
            settings,
        };
        world.make_topics(topics);
        world
    }

    /// The present, as machines are told.
    pub(crate) fn now(&self) -> Now {
        let since = self.queue.now();
        Now { at: self.base + Duration::from_micros(since), unix: EPOCH + since / SECOND }
    }

    /// The moment a machine means, rounded up: a timer must not come before its time.
    pub(crate) fn micros(&self, at: Instant) -> Micros {
        at.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as Micros
    }

    /// The present.
    pub fn time(&self) -> Micros {
        self.queue.now()
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.queue.popped()
    }

    /// Honest nodes that are there.
    pub fn population(&self) -> usize {
        self.alive.len()
    }

    /// Lets the world go on for `span`.
    pub fn run_for(&mut self, span: Micros) {
        let end = self.time() + span;
        while let Some(event) = self.queue.pop(end) {
            self.happen(event);
        }
        self.queue.advance(end);
    }

    fn happen(&mut self, event: Event) {
        *self.tally.events.entry(event.name()).or_default() += 1;
        match event {
            Event::Wake(node) => self.wake(node),
            Event::Start => {
                let node = self.start();
                self.depart_later(node);
            }
            Event::Leave(node) => {
                self.leave(node);
                self.start_later(0);
            }
            Event::Confirmed(node) => self.confirmed(node),
            Event::Request(asked) => self.asked(*asked),
            Event::Answer(answered) => self.answered(*answered),
            Event::LinkUp { dialer, acceptor, source } => self.link_up(dialer, acceptor, source),
            Event::LinkFailed { dialer, id } => self.link_failed(dialer, id),
            Event::LinkDown { node, peer, ending } => self.link_down(node, peer, ending),
            Event::Exchanged { to, from, reply } => self.exchanged(to, from, &reply),
            Event::Own { to, from, records } => self.own_record(to, from, records),
            Event::Frame { to, from, frame } => self.frame(to, from, *frame),
            Event::Attacker { id, address } => {
                self.spawn(true, Conduct::Liar, id, address);
            }
            Event::Task(task) => self.perform(task),
        }
    }

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

    fn start(&mut self) -> NodeIndex {
        let reachable = !self.rng.random_bool(self.settings.clients);
        self.spawn(reachable, Conduct::Honest, None, None)
    }

    /// Every node that may leave gets its hour of departure: after an exponentially distributed time.
    fn depart_later(&mut self, node: NodeIndex) {
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

    /// A random honest node that has joined and is `wanted`.
    pub(crate) fn anybody(&mut self, wanted: impl Fn(&Node) -> bool) -> Option<NodeIndex> {
        const TRIES: usize = 1000;
        for _ in 0..TRIES {
            if self.alive.is_empty() {
                return None;
            }
            let index = self.alive[self.rng.random_range(0..self.alive.len())];
            let node = &self.nodes[index as usize];
            if node.joined.is_some() && wanted(node) {
                return Some(index);
            }
        }
        None
    }

    /// Machines of a node that is there.
    pub(crate) fn machines(&mut self, node: NodeIndex) -> Option<&mut Machines> {
        self.nodes.get_mut(node as usize)?.machines.as_deref_mut()
    }

    fn wake(&mut self, index: NodeIndex) {
        let (time, now) = (self.time(), self.now());
        let Some(machines) = self.machines(index) else { return };
        if machines.wake != Some(time) {
            return;
        }
        machines.wake = None;
        if machines.dht.next_timeout().is_some_and(|at| at <= now.at) {
            machines.dht.handle_timeout(now);
        }
        if let Some(gossip) = &mut machines.gossip
            && gossip.next_timeout().is_some_and(|at| at <= now.at)
        {
            gossip.handle_timeout(now);
        }
        self.pump(index);
    }

    /// Performs what a node's machines want, and sets its timer.
    pub(crate) fn pump(&mut self, index: NodeIndex) {
        let now = self.now();
        loop {
            let Some(machines) = self.machines(index) else { return };
            if let Some(output) = machines.dht.poll(now) {
                self.perform_dht(index, output);
            } else if let Some(output) = machines.gossip.as_mut().and_then(|gossip| gossip.poll(now)) {
                self.perform_gossip(index, output);
            } else if let Some(action) = machines.manager.poll(now) {
                self.perform_manager(index, action);
            } else {
                machines.discovery.peers(now, machines.links.len());
                let Some(way) = machines.discovery.poll(now) else { break };
                self.ask_source(index, way);
            }
        }
        let time = self.time();
        let Some(machines) = self.machines(index) else { return };
        let gossip = machines.gossip.as_ref().and_then(Gossip::next_timeout);
        let (manager, discovery) = (machines.manager.next_timeout(), machines.discovery.next_timeout());
        let all = [machines.dht.next_timeout(), gossip, manager, discovery];
        let Some(next) = all.into_iter().flatten().min() else { return };
        let next = self.micros(next).max(time + 1);
        let Some(machines) = self.machines(index) else { return };
        if machines.wake.is_none_or(|wake| next < wake) {
            machines.wake = Some(next);
            self.queue.push(next, Event::Wake(index));
        }
    }
}

/// 32 random bytes.
pub(crate) fn seed(rng: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}
