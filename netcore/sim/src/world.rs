//! The simulated world: nodes with the network core's engines, and the messages between them. One thread, one queue of
//! events, virtual time, randomness from one seed.
//!
//! The engines make all decisions of nodes. The world starts and ends nodes (`life.rs`), carries their messages
//! (`calls.rs`), links (`links.rs`) and gossip (`talk.rs`), starts measured operations (`lookups.rs`, `topics.rs`) and
//! counts (`tally.rs`).

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

/// Parameters of a world.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Random seed: all randomness of the run follows from it.
    pub seed: u64,
    /// Loss of packets.
    pub loss: Loss,
    /// Share of honest nodes that cannot be dialed, 0 to 1.
    pub clients: f64,
    /// Configuration of each node's DHT.
    pub dht: DhtConfig,
    /// Configuration of each node's gossip; `None`: nodes run no gossip.
    pub gossip: Option<GossipConfig>,
    /// Number of topics in the world.
    pub topics: usize,
    /// Mean session length of nodes, exponentially distributed; `None`: nodes stay for ever.
    pub session: Option<Micros>,
}

impl Settings {
    /// Without loss, gossip and churn; a third of the nodes cannot be dialed.
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

/// Nodes, network, queue and measurements of one run.
pub struct World {
    pub(crate) settings: Settings,
    pub(crate) queue: Queue<Event>,
    pub(crate) net: Net,
    pub(crate) rng: StdRng,
    pub(crate) nodes: Vec<Node>,
    /// For look-ups only: the order of iteration differs from run to run.
    pub(crate) by_id: HashMap<NodeId, NodeIndex>,
    /// Live honest nodes.
    pub(crate) alive: Vec<NodeIndex>,
    /// Seeds, which every node knows from DNS.
    pub(crate) seeds: Vec<NodeIndex>,
    /// What nodes put, provided and published.
    pub(crate) published: Published,
    pub tally: Tally,
    /// Nodes that attacks are aimed at.
    pub(crate) victims: Vec<NodeIndex>,
    pub(crate) attackers: Vec<NodeIndex>,
    /// Attackers' address records by key, which liars answer with.
    pub(crate) accomplices: Accomplices,
    pub(crate) ips: Ips,
    base: Instant,
}

impl World {
    /// Makes a world without nodes.
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
            // An hour ahead, so that an engine may subtract from it.
            base: Instant::now() + Duration::from_secs(3600),
            settings,
        };
        world.make_topics(topics);
        world
    }

    /// The present time, as engines receive it.
    pub(crate) fn now(&self) -> Now {
        let since = self.queue.now();
        Now { at: self.base + Duration::from_micros(since), unix: EPOCH + since / SECOND }
    }

    /// Converts an engine's deadline to virtual time, rounded up: a timer must not fire early.
    pub(crate) fn micros(&self, at: Instant) -> Micros {
        at.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as Micros
    }

    /// The present virtual time.
    pub fn time(&self) -> Micros {
        self.queue.now()
    }

    /// Number of events handled so far.
    pub fn events(&self) -> u64 {
        self.queue.popped()
    }

    /// Number of live honest nodes.
    pub fn population(&self) -> usize {
        self.alive.len()
    }

    /// Handles all events of the next `span`.
    pub fn run_for(&mut self, span: Micros) {
        let end = self.time() + span;
        while let Some(event) = self.queue.pop(end) {
            self.dispatch(event);
        }
        self.queue.advance(end);
    }

    fn dispatch(&mut self, event: Event) {
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

    /// Picks a random honest node that has joined and satisfies `wanted`; `None` after 1,000 tries.
    pub(crate) fn random_node(&mut self, wanted: impl Fn(&Node) -> bool) -> Option<NodeIndex> {
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

    /// The engines of a live node.
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

    /// Performs all outputs of a node's engines, and sets its timer.
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
                let Some(source) = machines.discovery.poll(now) else { break };
                self.ask_source(index, source);
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
