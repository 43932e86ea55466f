//! Nodes in one thread with a virtual clock: each call takes a while, and may be lost. All randomness is from a printed
//! random seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::address::AddressRecord;
use crate::dht::{Asker, CallFailed, CallId, Dht, DhtConfig, Job, Lie, Outcome, Output, QueryId, Request, Response};
use crate::keys::Keys;
use crate::now::Now;
use crate::testing;

/// Keys with cheap signatures: a hash of the key and the message. Anybody could forge them; tests do so only on
/// purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cheap(pub(super) NodeId);

impl Cheap {
    pub(super) fn signature(key: &NodeId, message: &[u8]) -> Signature {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0).update(message);
        let mut bytes = [0; 64];
        hasher.finalize_xof().fill(&mut bytes);
        Signature(bytes)
    }
}

impl Keys for Cheap {
    fn node(&self) -> NodeId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Self::signature(&self.0, message)
    }

    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool {
        Self::signature(key, message) == *signature
    }
}

/// How a liar answers.
pub(super) type Liar = fn(&mut World, usize, &Asker, &Request) -> Option<Response>;

pub(super) struct Member {
    pub(super) dht: Dht,
    pub(super) keys: Cheap,
    pub(super) ip: IpAddr,
    pub(super) record: Option<Arc<AddressRecord>>,
    pub(super) alive: bool,
    pub(super) liar: Option<Liar>,
    pub(super) done: Vec<(QueryId, Outcome)>,
    pub(super) lies: Vec<(NodeId, Lie)>,
    pub(super) calls: u64,
    timer: Option<Instant>,
}

enum Event {
    Request { from: usize, to: SocketAddr, node: NodeId, call: CallId, request: Request },
    Answer { to: usize, call: CallId, from: Option<IpAddr>, answer: Result<Response, CallFailed> },
    Timer { at: usize },
}

struct Due(Instant, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(super) struct World {
    began: Now,
    pub(super) now: Now,
    pub(super) random: StdRng,
    pub(super) members: Vec<Member>,
    config: DhtConfig,
    by_address: std::collections::BTreeMap<SocketAddr, usize>,
    events: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// Calls lost, per thousand.
    pub(super) loss: u32,
}

impl World {
    pub(super) fn new(seed: u8, config: DhtConfig) -> Self {
        println!("seed {seed}");
        let began = Now { at: testing::start(), unix: 1_700_000_000 };
        Self {
            began,
            now: began,
            random: StdRng::from_seed([seed; 32]),
            members: Vec::new(),
            config,
            by_address: std::collections::BTreeMap::new(),
            events: BinaryHeap::new(),
            number: 0,
            loss: 0,
        }
    }

    /// Adds a node with a public address in a subnet of its own, which joins through three random servers.
    pub(super) fn join(&mut self, serves: bool) -> usize {
        let [a, b, c, d] = self.random.next_u32().to_be_bytes();
        let ip = IpAddr::from([11 + a % 80, b, c, 1 + d % 250]);
        self.join_at(ip, serves)
    }

    fn join_at(&mut self, ip: IpAddr, serves: bool) -> usize {
        let mut id = [0; 32];
        self.random.fill_bytes(&mut id);
        self.join_with(Cheap(NodeId(id)), ip, serves)
    }

    pub(super) fn join_with(&mut self, keys: Cheap, ip: IpAddr, serves: bool) -> usize {
        let at = self.start(keys, ip, serves);
        let servers: Vec<usize> = self.servers().into_iter().filter(|other| *other != at).collect();
        for _ in 0..3.min(servers.len()) {
            let other = servers[self.random.random_range(0..servers.len())];
            if let Some(record) = self.members[other].record.clone() {
                self.members[at].dht.add(self.now, record);
            }
        }
        self.settle(at);
        at
    }

    /// Adds a node without contacts.
    pub(super) fn start(&mut self, keys: Cheap, ip: IpAddr, serves: bool) -> usize {
        let address = SocketAddr::new(ip, 7470 + u16::try_from(self.members.len() % 50_000).unwrap());
        let record = serves.then(|| Arc::new(AddressRecord::sign(&keys, vec![address], 1, self.now)));
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        let mut dht = Dht::new(Arc::new(keys), self.config.clone(), seed);
        dht.set_own(self.now, record.iter().cloned().collect());
        let at = self.members.len();
        self.by_address.insert(address, at);
        self.members.push(Member {
            dht,
            keys,
            ip,
            record,
            alive: true,
            liar: None,
            done: Vec::new(),
            lies: Vec::new(),
            calls: 0,
            timer: None,
        });
        at
    }

    /// Turns a client into a server: it can be dialed from now on.
    pub(super) fn serve(&mut self, at: usize) {
        let address = SocketAddr::new(self.members[at].ip, 7000);
        let record = Arc::new(AddressRecord::sign(&self.members[at].keys, vec![address], 1, self.now));
        self.members[at].record = Some(Arc::clone(&record));
        self.by_address.insert(address, at);
        let now = self.now;
        self.members[at].dht.set_own(now, vec![record]);
        self.settle(at);
    }

    pub(super) fn leave(&mut self, at: usize) {
        self.members[at].alive = false;
    }

    fn push(&mut self, later: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse(Due(self.now.at + later, self.number, event)));
    }

    /// Performs the outputs of a node's engine.
    pub(super) fn settle(&mut self, at: usize) {
        while let Some(output) = self.members[at].dht.poll(self.now) {
            match output {
                Output::Call { call, to, request } => {
                    self.members[at].calls += 1;
                    let later = Duration::from_millis(self.random.random_range(20..150));
                    let (to, node) = (to.addresses[0], to.node);
                    self.push(later, Event::Request { from: at, to, node, call, request });
                }
                Output::Done { query, outcome } => self.members[at].done.push((query, outcome)),
                Output::Misbehaved { node, why } => self.members[at].lies.push((node, why)),
            }
        }
        let next = self.members[at].dht.next_timeout();
        if let Some(due) = next
            && self.members[at].timer.is_none_or(|set| due < set)
        {
            self.members[at].timer = Some(due);
            self.push(due.saturating_duration_since(self.now.at), Event::Timer { at });
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Request { from, to, node, call, request } => {
                let lost = self.random.random_range(0..1000) < self.loss;
                let there = self.by_address.get(&to).copied();
                let there = there.filter(|at| self.members[*at].alive && self.members[*at].keys.0 == node && !lost);
                let asker = Asker { node: self.members[from].keys.0, ip: self.members[from].ip };
                let Some(at) = there else {
                    let answer = Err(CallFailed::Unreachable);
                    return self.push(Duration::from_secs(3), Event::Answer { to: from, call, from: None, answer });
                };
                // Messages travel as bytes.
                let request = Request::decode(&request.encode()).unwrap();
                let lie = self.members[at].liar.and_then(|liar| liar(self, at, &asker, &request));
                let now = self.now;
                let response = lie.unwrap_or_else(|| self.members[at].dht.handle_request(now, &asker, request));
                let answer = Response::decode(&response.encode()).map_err(|_| CallFailed::Malformed);
                self.settle(at);
                let later = Duration::from_millis(self.random.random_range(20..150));
                let ip = Some(self.members[at].ip);
                self.push(later, Event::Answer { to: from, call, from: ip, answer });
            }
            Event::Answer { to, call, from, answer } => {
                if self.members[to].alive {
                    let now = self.now;
                    self.members[to].dht.handle_answer(now, call, from, answer);
                    self.settle(to);
                }
            }
            Event::Timer { at } => {
                self.members[at].timer = None;
                if self.members[at].alive {
                    let now = self.now;
                    if self.members[at].dht.next_timeout().is_some_and(|due| due <= now.at) {
                        self.members[at].dht.handle_timeout(now);
                    }
                    self.settle(at);
                }
            }
        }
    }

    /// Runs the world for a time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.began.after(self.now.at.saturating_duration_since(self.began.at) + time);
        while self.events.peek().is_some_and(|Reverse(due)| due.0 <= end.at) {
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let Some(Reverse(Due(at, _, event))) = self.events.pop() else { return };
        self.now = self.began.after(at.saturating_duration_since(self.began.at));
        self.handle_event(event);
    }

    /// Runs a job to its end.
    pub(super) fn job(&mut self, at: usize, job: Job) -> Outcome {
        let now = self.now;
        let query = self.members[at].dht.start(now, job).expect("room for a job");
        self.settle(at);
        let end = now.at + Duration::from_secs(120);
        loop {
            if let Some(found) = self.members[at].done.iter().position(|(done, _)| *done == query) {
                return self.members[at].done.remove(found).1;
            }
            assert!(self.now.at < end && !self.events.is_empty(), "a job must end");
            self.step();
        }
    }

    /// Indices of the members that are present and serve.
    pub(super) fn servers(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|at| self.members[*at].alive && self.members[*at].record.is_some()).collect()
    }
}
