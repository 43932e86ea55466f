//! The search for the addresses at which other nodes can reach this one: it decides which peers to ask for a probe and
//! when, and evaluates their answers. Pure.
//!
//! A peer on the same machine sees this node at a loopback address, one in the same network at a private address,
//! others at a public address. The finder asks one peer at a time for each of these zones and each address family. An
//! address at which a peer reached this node is *confirmed* for an hour, and probed again before that ends. An address
//! that is not one of this machine's own interfaces (because of a NAT, or because the peer lies) must be confirmed by
//! two peers of different subnets. After failures of three different peers in a row the node is private in that zone,
//! and it asks with a growing backoff.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::gateway::Reach;
use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::wire::{MAX_PORTS, Probed};
use crate::address::{MAX_RECORD_ADDRESSES, Subnet, Zone};

/// How long an address is confirmed after a successful probe.
pub const CONFIRMED: Duration = Duration::from_secs(3600);
/// When a confirmed address is probed again: early enough for several attempts before it expires.
const AGAIN: Duration = Duration::from_secs(2400);
/// Number of different peers whose probes must fail in a row before an address is not confirmed any more.
const FAILURES: usize = 3;
/// First backoff before a peer whose probe failed is asked again.
const SAME_PEER: Duration = Duration::from_secs(60);
/// Wait before a peer that was busy is asked again; up to as much again is added at random.
const BUSY: Duration = Duration::from_secs(1);
/// Wait before a peer is asked again that does not support probes, or whose answer cannot be used.
const USELESS: Duration = Duration::from_secs(3600);
/// First backoff before peers are asked again after [`FAILURES`] failures.
const PRIVATE: Duration = Duration::from_secs(300);
/// Longest backoff.
const LONGEST: Duration = Duration::from_secs(3600);
/// Most peers that can be asked, as many as can be connected; further ones are ignored.
const MAX_PEERS: usize = 1024;

/// Why a peer gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It was busy, or did not answer in time.
    Busy,
    /// It refuses probes, or its answer is malformed.
    Useless,
}

/// What the finder asks its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask `peer` for a probe of `ports`, those of this node's sockets; report the result with
    /// [`Finder::handle_answer`].
    Ask { peer: NodeId, ports: Vec<u16> },
    /// The confirmed addresses have changed.
    Changed,
}

#[derive(Debug)]
struct Peer {
    ip: IpAddr,
    not_before: Instant,
    asked: Option<Instant>,
    failures: u32,
}

/// The zone of a peer's address, and whether it is IPv4. Peers with the same view see this node at the same addresses.
type View = (Zone, bool);

#[derive(Debug)]
struct Group {
    asking: Option<NodeId>,
    /// When to ask the next peer.
    next: Instant,
    /// The peers whose probes failed since the last success.
    failed: Vec<NodeId>,
    /// How many times in a row [`FAILURES`] peers failed.
    rounds: u32,
}

#[derive(Debug)]
struct Address {
    /// The peers that reached it, each with its subnet; at most two.
    witnesses: Vec<(NodeId, Subnet)>,
    until: Instant,
    confirmed: bool,
}

/// The addresses of one node, and the peers that probe them.
#[derive(Debug)]
pub struct Finder {
    rng: StdRng,
    ports: Vec<(bool, u16)>,
    local: Vec<IpAddr>,
    peers: BTreeMap<NodeId, Peer>,
    groups: BTreeMap<View, Group>,
    addresses: BTreeMap<SocketAddr, Address>,
    outputs: VecDeque<Output>,
}

impl Finder {
    /// Creates one without peers. `seed` is the random seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: StdRng::from_seed(seed),
            ports: Vec::new(),
            local: Vec::new(),
            peers: BTreeMap::new(),
            groups: BTreeMap::new(),
            addresses: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Sets the addresses that the node listens on (`bound`) and the IPs of this machine. After a change, all peers may
    /// be asked at once.
    pub fn set_local(&mut self, now: Instant, bound: &[SocketAddr], mut local: Vec<IpAddr>) {
        local.sort();
        local.dedup();
        let ports: Vec<_> = bound.iter().map(|address| (address.is_ipv4(), address.port())).collect();
        if (&self.ports, &self.local) == (&ports, &local) {
            return;
        }
        (self.ports, self.local) = (ports, local);
        for group in self.groups.values_mut() {
            (group.next, group.rounds) = (now, 0);
            group.failed.clear();
        }
        for peer in self.peers.values_mut() {
            peer.not_before = now;
        }
    }

    /// A peer whose packets come from `ip` is connected.
    pub fn peer_up(&mut self, now: Instant, node: NodeId, ip: IpAddr) {
        if ip.is_unspecified() || (self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&node)) {
            return;
        }
        self.peer_down(now, &node);
        self.peers.insert(node, Peer { ip, not_before: now, asked: None, failures: 0 });
        let new = Group { asking: None, next: now, failed: Vec::new(), rounds: 0 };
        self.groups.entry(view(ip)).or_insert(new);
    }

    /// The connection with a peer has ended.
    pub fn peer_down(&mut self, now: Instant, node: &NodeId) {
        if let Some(peer) = self.peers.remove(node)
            && let Some(group) = self.groups.get_mut(&view(peer.ip))
            && group.asking == Some(*node)
        {
            group.asking = None;
            group.next = now;
        }
    }

    /// The peer `from` answered a question, or did not.
    pub fn handle_answer(&mut self, now: Instant, from: NodeId, answer: Result<Probed, NoAnswer>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let asked_in = view(peer.ip);
        let Some(group) = self.groups.get_mut(&asked_in) else { return };
        if group.asking != Some(from) {
            return;
        }
        group.asking = None;
        group.next = now;
        match answer {
            Err(NoAnswer::Busy) => peer.not_before = now + BUSY.mul_f64(1.0 + self.rng.random::<f64>()),
            Err(NoAnswer::Useless) => peer.not_before = now + USELESS,
            Ok(probed) => {
                let observed = SocketAddr::new(probed.observed.ip().to_canonical(), probed.observed.port());
                let zone = Zone::of(observed.ip());
                // An address that is not public can be right only if it is one of this machine.
                let own = self.local.contains(&observed.ip());
                let asked = |port: &u16| *port == observed.port() || self.ports.contains(&(observed.is_ipv4(), *port));
                let reached: Vec<u16> = probed.reached.iter().copied().filter(asked).collect();
                if (!own && zone != Zone::Public) || observed.is_ipv4() != peer.ip.is_ipv4() {
                    peer.not_before = now + USELESS;
                } else if reached.is_empty() {
                    peer.failures += 1;
                    peer.not_before = now + doubled(SAME_PEER, peer.failures - 1);
                    if !group.failed.contains(&from) {
                        group.failed.push(from);
                    }
                    self.note_failure(now, asked_in, view(observed.ip()));
                } else {
                    peer.failures = 0;
                    peer.not_before = now + AGAIN;
                    group.failed.clear();
                    group.rounds = 0;
                    let witness = (from, Subnet::of(peer.ip));
                    let enough = if own { 1 } else { 2 };
                    for port in reached {
                        self.confirm(now, SocketAddr::new(observed.ip(), port), witness, enough);
                    }
                    self.schedule_recheck(now, asked_in);
                }
            }
        }
    }

    /// A peer reached this node at `address`; it takes `enough` peers to confirm it.
    fn confirm(&mut self, now: Instant, address: SocketAddr, witness: (NodeId, Subnet), enough: usize) {
        let zone = Zone::of(address.ip());
        let same_zone = self.addresses.keys().filter(|other| Zone::of(other.ip()) == zone);
        if !self.addresses.contains_key(&address) && same_zone.count() >= MAX_RECORD_ADDRESSES {
            // It replaces one that is not confirmed. An address of this machine may also replace the confirmed one that
            // was reached least recently.
            let others = self.addresses.iter().filter(|(other, _)| Zone::of(other.ip()) == zone);
            let oldest = others.min_by_key(|(_, entry)| (entry.confirmed, entry.until));
            let Some((oldest, was_confirmed)) = oldest.map(|(other, entry)| (*other, entry.confirmed)) else { return };
            if was_confirmed && enough > 1 {
                return;
            }
            self.addresses.remove(&oldest);
            if was_confirmed {
                self.outputs.push_back(Output::Changed);
            }
        }
        let new = || Address { witnesses: Vec::new(), until: now, confirmed: false };
        let entry = self.addresses.entry(address).or_insert_with(new);
        entry.until = now + CONFIRMED;
        // A new witness replaces an older one from the same subnet.
        entry.witnesses.retain(|(node, subnet)| *node != witness.0 && *subnet != witness.1);
        entry.witnesses.insert(0, witness);
        entry.witnesses.truncate(2);
        if !entry.confirmed && entry.witnesses.len() >= enough {
            entry.confirmed = true;
            self.outputs.push_back(Output::Changed);
        }
    }

    /// The probe of a peer in view `asked_in`, which sees this node in view `seen`, failed. After [`FAILURES`] such
    /// failures, no address of `seen` is confirmed any more.
    fn note_failure(&mut self, now: Instant, asked_in: View, seen: View) {
        let Some(group) = self.groups.get_mut(&asked_in).filter(|group| group.failed.len() >= FAILURES) else { return };
        group.failed.clear();
        group.next = now + doubled(PRIVATE, group.rounds);
        group.rounds += 1;
        let was = self.confirmed();
        self.addresses.retain(|address, _| view(address.ip()) != seen);
        if self.confirmed() != was {
            self.outputs.push_back(Output::Changed);
        }
    }

    /// A peer in `view` has just reached this node: the next probe is due in [`AGAIN`], unless another peer must
    /// confirm.
    fn schedule_recheck(&mut self, now: Instant, view: View) {
        let settled = self.addresses.values().any(|entry| entry.confirmed && entry.until == now + CONFIRMED);
        if let Some(group) = self.groups.get_mut(&view)
            && settled
        {
            group.next = now + AGAIN.mul_f64(1.0 + self.rng.random::<f64>() / 8.0);
        }
    }

    /// The next output; call it after every other call until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let due = self.groups.iter().filter(|(_, group)| group.asking.is_none() && group.next <= now);
        let (view, peer) = due.filter_map(|(view, _)| Some((*view, self.choose(now, *view)?))).next()?;
        self.groups.get_mut(&view)?.asking = Some(peer);
        let asked = self.peers.get_mut(&peer)?;
        asked.asked = Some(now);
        let ports = self.ports.iter().filter(|(is_ipv4, port)| *is_ipv4 == view.1 && *port != 0);
        let mut ports: Vec<u16> = ports.map(|(_, port)| *port).collect();
        ports.dedup();
        ports.truncate(MAX_PORTS);
        Some(Output::Ask { peer, ports })
    }

    /// The peers of `view` that may be asked: none if the node does not listen on that family, and while an address
    /// waits for a second witness, none from the subnet of the first.
    fn candidates(&self, view: View) -> impl Iterator<Item = (&NodeId, &Peer)> {
        let listens = self.ports.iter().any(|(is_ipv4, port)| *is_ipv4 == view.1 && *port != 0);
        let of_view = self.peers.iter().filter(move |(_, peer)| listens && self::view(peer.ip) == view);
        let waiting = move || self.addresses.values().filter(|entry| !entry.confirmed);
        of_view.filter(move |(_, peer)| {
            let subnet = Subnet::of(peer.ip);
            !waiting().any(|entry| entry.witnesses.iter().any(|(_, of)| *of == subnet))
        })
    }

    /// Chooses the peer to ask: preferably one that has not failed, then the one asked least recently.
    fn choose(&self, now: Instant, view: View) -> Option<NodeId> {
        let group = self.groups.get(&view)?;
        let ready = self.candidates(view).filter(|(_, peer)| peer.not_before <= now);
        ready.min_by_key(|(node, peer)| (group.failed.contains(node), peer.asked)).map(|(node, _)| *node)
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let expiry = self.addresses.values().map(|entry| entry.until).min();
        let asks = self.groups.iter().filter(|(_, group)| group.asking.is_none()).filter_map(|(view, group)| {
            Some(self.candidates(*view).map(|(_, peer)| peer.not_before).min()?.max(group.next))
        });
        asks.chain(expiry).min()
    }

    /// Forgets addresses that have expired. Call [`Self::poll`] afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        let was = self.confirmed();
        self.addresses.retain(|_, entry| entry.until > now);
        if self.confirmed() != was {
            self.outputs.push_back(Output::Changed);
        }
    }

    /// The confirmed addresses, by zone.
    pub fn confirmed(&self) -> BTreeMap<Zone, Vec<SocketAddr>> {
        let mut zones: BTreeMap<Zone, Vec<SocketAddr>> = BTreeMap::new();
        for (address, _) in self.addresses.iter().filter(|(_, entry)| entry.confirmed) {
            zones.entry(Zone::of(address.ip())).or_default().push(*address);
        }
        zones
    }

    /// How the node is reached from the internet.
    pub fn reach(&self) -> Reach {
        if self.confirmed().contains_key(&Zone::Public) {
            return Reach::Public;
        }
        let mut public = self.groups.iter().filter(|((zone, _), _)| *zone == Zone::Public);
        if public.any(|(_, group)| group.rounds > 0) { Reach::Private } else { Reach::Unknown }
    }
}

fn view(ip: IpAddr) -> View {
    (Zone::of(ip), ip.is_ipv4())
}

fn doubled(wait: Duration, times: u32) -> Duration {
    wait.saturating_mul(1 << times.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests;
