//! A simulated network of gossip engines with its own clock, latency, loss and churn, all from one random seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::record::Signature;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::among::PUBLIC;
use crate::address::AddressRecord;
use crate::gossip::{Frame, Gossip, GossipConfig, Output};
use crate::keys::Keys;
use crate::now::Now;
use crate::testing;

/// Keys that cost nothing. Signatures can be forged; no test does.
#[derive(Debug)]
pub(in crate::gossip) struct CheapKeys(pub(in crate::gossip) NodeId);

fn cheap(key: &NodeId, message: &[u8]) -> Signature {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = [0; 64];
    hasher.update(&key.0).update(message).finalize_xof().fill(&mut bytes);
    Signature(bytes)
}

impl Keys for CheapKeys {
    fn node(&self) -> NodeId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        cheap(&self.0, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool {
        cheap(key, message) == *signature
    }
}

enum Event {
    Frame { from: NodeId, to: NodeId, frame: Frame },
    Dialed { from: NodeId, to: NodeId },
    Down { at: NodeId, peer: NodeId },
    Found { at: NodeId, topic: Name },
    Unused { one: NodeId, other: NodeId },
    Wake { at: NodeId },
}

struct Machine {
    gossip: Gossip,
    record: Option<Arc<AddressRecord>>,
    kept: BTreeSet<NodeId>,
    wake: Option<Instant>,
    /// Subscribed topics, with the time of subscription.
    subscribed: BTreeMap<Name, Instant>,
}

/// A published message and the nodes that it was delivered to.
pub(in crate::gossip) struct Published {
    topic: Name,
    at: Instant,
    author: NodeId,
    delivered: BTreeSet<NodeId>,
}

/// Counters of frames and bytes sent.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::gossip) struct Traffic {
    pub(in crate::gossip) pushes: u64,
    pub(in crate::gossip) control_frames: u64,
    pub(in crate::gossip) control_bytes: u64,
}

/// Nodes, links, events in flight, and counters.
pub(in crate::gossip) struct World {
    pub(in crate::gossip) now: Now,
    pub(in crate::gossip) rng: StdRng,
    /// Probability that a frame is lost.
    pub(in crate::gossip) loss: f64,
    pub(in crate::gossip) traffic: Traffic,
    pub(in crate::gossip) by_kind: BTreeMap<&'static str, u64>,
    pub(in crate::gossip) published: BTreeMap<Hash, Published>,
    config: GossipConfig,
    machines: BTreeMap<NodeId, Machine>,
    links: BTreeSet<(NodeId, NodeId)>,
    directory: BTreeMap<Name, Vec<Arc<AddressRecord>>>,
    queue: BTreeMap<(Instant, u64), Event>,
    numbers: u64,
    passed: Duration,
    /// Pushes lost. `dead` counts pushes to nodes that had left.
    lost: u64,
    dead: u64,
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Topics { .. } => "topics",
        Frame::Join { .. } => "join",
        Frame::Joined { .. } => "joined",
        Frame::Leave { .. } => "leave",
        Frame::Shuffle { .. } => "shuffle",
        Frame::Push { .. } => "push",
        Frame::Have { answer: false, .. } => "have",
        Frame::Have { answer: true, .. } => "have (answer)",
        Frame::Want { .. } => "want",
        Frame::Prune { .. } => "prune",
        Frame::Digest { .. } => "digest",
        Frame::List { .. } => "list",
    }
}

impl World {
    pub(in crate::gossip) fn new(seed: u64, loss: f64) -> Self {
        println!("seed {seed}");
        Self {
            now: testing::now(),
            rng: StdRng::seed_from_u64(seed),
            loss,
            traffic: Traffic::default(),
            by_kind: BTreeMap::new(),
            published: BTreeMap::new(),
            config: GossipConfig::default(),
            machines: BTreeMap::new(),
            links: BTreeSet::new(),
            directory: BTreeMap::new(),
            queue: BTreeMap::new(),
            numbers: 0,
            passed: Duration::ZERO,
            lost: 0,
            dead: 0,
        }
    }

    /// Adds a node; two of three can be dialed.
    pub(in crate::gossip) fn add(&mut self) -> NodeId {
        self.numbers += 1;
        let number = self.numbers as u32;
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        let (node, keys) = (NodeId(bytes), Arc::new(CheapKeys(NodeId(bytes))));
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let mut gossip = Gossip::new(keys.clone(), self.config, seed);
        let [_, a, b, c] = number.to_be_bytes();
        let address = SocketAddr::from(([33 + a, b, c, 1], 7470));
        let reachable = !number.is_multiple_of(3);
        let record = reachable.then(|| Arc::new(AddressRecord::sign(&*keys, vec![address], 1, self.now)));
        gossip.set_own(self.now, record.iter().cloned().collect());
        let machine = Machine { gossip, record, kept: BTreeSet::new(), wake: None, subscribed: BTreeMap::new() };
        self.machines.insert(node, machine);
        node
    }

    pub(in crate::gossip) fn gossip(&mut self, node: &NodeId) -> &mut Gossip {
        &mut self.machines.get_mut(node).expect("it is alive").gossip
    }

    pub(in crate::gossip) fn random(&mut self) -> NodeId {
        let at = self.rng.random_range(0..self.machines.len());
        *self.machines.keys().nth(at).expect("there are nodes")
    }

    pub(in crate::gossip) fn subscribe(&mut self, node: NodeId, topic: &Name, validation: Validation) {
        let now = self.now;
        let machine = self.machines.get_mut(&node).expect("it is alive");
        machine.gossip.subscribe(now, topic.clone(), validation);
        machine.subscribed.insert(topic.clone(), now.at);
        self.drain(node);
    }

    pub(in crate::gossip) fn publish(&mut self, author: NodeId, topic: &Name, payload: usize) -> Hash {
        let now = self.now;
        let (id, _) = self.gossip(&author).publish(now, topic.clone(), vec![7; payload].into()).expect("it is small");
        let published = Published { topic: topic.clone(), at: now.at, author, delivered: BTreeSet::new() };
        self.published.insert(id, published);
        self.drain(author);
        id
    }

    /// Ends a node without closing its links: its peers notice later.
    pub(in crate::gossip) fn crash(&mut self, node: NodeId) {
        let Some(gone) = self.machines.remove(&node) else { return };
        for (topic, _) in gone.subscribed {
            if self.rng.random_bool(0.5) {
                self.directory.entry(topic).or_default().retain(|record| record.node != node);
            }
        }
        let links: Vec<_> = self.links.iter().filter(|(one, other)| *one == node || *other == node).copied().collect();
        for (one, other) in links {
            self.links.remove(&(one, other));
            let after = Duration::from_millis(self.rng.random_range(5_000..15_000));
            let at = if one == node { other } else { one };
            self.after(after, Event::Down { at, peer: node });
        }
    }

    fn after(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.queue.insert((self.now.at + after, self.numbers), event);
    }

    fn latency(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(10..120))
    }

    /// Advances the clock by `span`, handling all events.
    pub(in crate::gossip) fn run(&mut self, span: Duration) {
        let end = self.now.at + span;
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > end {
                break;
            }
            let Some((_, event)) = self.queue.pop_first() else { break };
            self.advance(at);
            self.handle(event);
        }
        self.advance(end);
    }

    fn advance(&mut self, to: Instant) {
        let start = self.now.at;
        // Whole seconds count from the world's start, which was at a whole second.
        let passed = to.saturating_duration_since(start);
        self.passed += passed;
        self.now = Now { at: to, unix: 1_800_000_000 + self.passed.as_secs() };
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Frame { from, to, frame } => {
                if !self.links.contains(&pair(from, to)) {
                    return;
                }
                let Some(machine) = self.machines.get_mut(&to) else { return };
                machine.gossip.handle_frame(now, from, frame).expect("no node misbehaves");
                self.drain(to);
            }
            Event::Dialed { from, to } => {
                if !self.machines.contains_key(&from) {
                    return;
                }
                if self.machines.contains_key(&to) {
                    self.links.insert(pair(from, to));
                    self.gossip(&from).peer_up(now, to, PUBLIC);
                    self.gossip(&to).peer_up(now, from, PUBLIC);
                    self.after(Duration::from_secs(20), Event::Unused { one: from, other: to });
                    self.drain(to);
                } else {
                    self.gossip(&from).connect_failed(now, to);
                }
                self.drain(from);
            }
            Event::Down { at, peer } => {
                if self.machines.contains_key(&at) && !self.links.contains(&pair(at, peer)) {
                    self.gossip(&at).peer_down(now, peer);
                    self.drain(at);
                }
            }
            Event::Unused { one, other } => {
                let keeps = |world: &Self, at: &NodeId, peer: &NodeId| {
                    world.machines.get(at).is_some_and(|machine| machine.kept.contains(peer))
                };
                if keeps(self, &one, &other) || keeps(self, &other, &one) {
                    if self.links.contains(&pair(one, other)) {
                        self.after(Duration::from_secs(20), Event::Unused { one, other });
                    }
                } else if self.links.remove(&pair(one, other)) {
                    self.after(Duration::ZERO, Event::Down { at: one, peer: other });
                    self.after(Duration::ZERO, Event::Down { at: other, peer: one });
                }
            }
            Event::Found { at, topic } => {
                let mut found = self.directory.get(&topic).cloned().unwrap_or_default();
                while found.len() > 16 {
                    let gone = self.rng.random_range(0..found.len());
                    found.swap_remove(gone);
                }
                if self.machines.contains_key(&at) {
                    self.gossip(&at).subscribers(now, &topic, found);
                    self.drain(at);
                }
            }
            Event::Wake { at } => {
                if let Some(machine) = self.machines.get_mut(&at) {
                    machine.wake = None;
                    machine.gossip.handle_timeout(now);
                    self.drain(at);
                }
            }
        }
    }

    /// Performs a node's outputs.
    fn drain(&mut self, node: NodeId) {
        let now = self.now;
        while let Some(output) = self.machines.get_mut(&node).and_then(|machine| machine.gossip.poll(now)) {
            self.perform(node, output);
        }
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if let Some(next) = machine.gossip.next_timeout()
            && machine.wake.is_none_or(|wake| next < wake)
        {
            machine.wake = Some(next);
            let after = next.saturating_duration_since(now.at).max(Duration::from_millis(1));
            self.after(after, Event::Wake { at: node });
        }
    }

    fn perform(&mut self, node: NodeId, output: Output) {
        match output {
            Output::Send { to, frame } => {
                if frame.payload() > 0 {
                    self.traffic.pushes += 1;
                } else {
                    self.traffic.control_frames += 1;
                    self.traffic.control_bytes += frame.size() as u64;
                }
                *self.by_kind.entry(kind(&frame)).or_default() += frame.size() as u64;
                if frame.payload() > 0 && !self.machines.contains_key(&to) {
                    self.dead += 1;
                }
                if self.rng.random_bool(self.loss) {
                    self.lost += u64::from(frame.payload() > 0);
                } else {
                    let latency = self.latency();
                    self.after(latency, Event::Frame { from: node, to, frame });
                }
            }
            Output::Deliver { message, .. } => {
                if let Some(published) = self.published.get_mut(&message.id()) {
                    assert!(published.delivered.insert(node), "delivered twice");
                }
            }
            Output::Connect { record } => {
                let latency = self.latency() * 3;
                self.after(latency, Event::Dialed { from: node, to: record.node });
            }
            Output::Keep { peer } => assert!(self.machines.get_mut(&node).unwrap().kept.insert(peer)),
            Output::Release { peer } => assert!(self.machines.get_mut(&node).unwrap().kept.remove(&peer)),
            Output::FindSubscribers { topic } => {
                let latency = self.latency() * 6;
                self.after(latency, Event::Found { at: node, topic });
            }
            Output::Announce { topic } => {
                let record = self.machines[&node].record.clone().expect("it can be reached");
                self.directory.entry(topic).or_default().push(record);
            }
            Output::Withdraw { topic } => {
                self.directory.entry(topic).or_default().retain(|record| record.node != node);
            }
            Output::Credit { .. } => {}
            Output::Blame { peer, why } => println!("{node:?} blames {peer:?}: {why}"),
        }
    }

    /// Deliveries missed and expected: over all messages, the subscribers at the time of publishing that are still
    /// there. Messages of the last minute do not count yet.
    pub(in crate::gossip) fn missed(&self) -> (u64, u64) {
        let (mut missed, mut all) = (0, 0);
        for (id, published) in &self.published {
            if published.at + Duration::from_secs(60) > self.now.at {
                continue;
            }
            for (node, machine) in &self.machines {
                let there = machine.subscribed.get(&published.topic).is_some_and(|since| *since < published.at);
                if there && *node != published.author {
                    all += 1;
                    if !published.delivered.contains(node) {
                        missed += 1;
                        println!("{node:?} lacks {id:?} of {:?} ago", self.now.at - published.at);
                    }
                }
            }
        }
        (missed, all)
    }

    /// Prints the sums of all nodes' counters.
    pub(in crate::gossip) fn sum(&self) {
        let mut sums = BTreeMap::new();
        for machine in self.machines.values() {
            let stats = machine.gossip.stats();
            for (name, value) in [
                ("delivered", stats.delivered),
                ("duplicates", stats.duplicates),
                ("pulled", stats.pulled),
                ("grafts", stats.grafts),
                ("prunes", stats.prunes),
                ("given_up", stats.given_up),
                ("promises_broken", stats.promises_broken),
            ] {
                *sums.entry(name).or_insert(0) += value;
            }
        }
        println!("{sums:?} lost: {}, to nodes that had left: {}", self.lost, self.dead);
    }

    pub(in crate::gossip) fn deliveries(&self) -> u64 {
        self.published.values().map(|published| published.delivered.len() as u64).sum()
    }
}
