//! The simulated world: nodes with the netcore's machines, and what happens between them. One thread, one queue, virtual
//! time, randomness from one seed.
//!
//! What nodes decide, the machines decide. The world has nodes come and go (`life.rs`), moves their messages (`calls.rs`), their
//! links (`links.rs`) and their gossip (`talk.rs`), starts what is measured (`lookups.rs`, `topics.rs`) and counts (`tally.rs`).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use polypeer_engine::dht::DhtConfig;
use polypeer_engine::gossip::{Gossip, GossipConfig};
use polypeer_engine::now::Now;
use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::event::Event;
use crate::index::NodeIndex;
use crate::ips::Ips;
use crate::liars::Accomplices;
use crate::net::{Loss, Net};
use crate::node::{Conduct, Machines, Node};
use crate::published::Published;
use crate::queue::{Micros, Queue, SECOND};
use crate::tally::Tally;

/// Unix time at the start of every simulated world: 2026-01-01.
const EPOCH: u64 = 1_767_225_600;

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
    pub(crate) ips: Ips,
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
