//! Decides which peers to ask to dial this node back, when, and what their answers mean. Pure.
//!
//! Peers see this node from where they are: those on the same machine at a loopback address, those of the same network
//! at a private one, others at a public one. For each of these zones and each family it asks one peer at a time. An
//! address at which the peer got through is *confirmed* for an hour and asked about again before. An address that is
//! not one of this machine's own interfaces (it is behind a NAT, or the peer lies) takes two peers of different
//! subnets. When three different peers could not get through, the node is private there, and it asks less and less
//! often.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::gateway::Reach;
use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::wire::{MAX_PORTS, Probed};
use crate::address::{MAX_RECORD_ADDRESSES, Subnet, Zone};

/// How long an address counts as one that can be dialed after a peer has.
pub const CONFIRMED: Duration = Duration::from_secs(3600);
/// When a confirmed one is asked about again: while there is time for a few more attempts.
const AGAIN: Duration = Duration::from_secs(2400);
/// Peers that must have failed, in a row and all different, before an address counts as one that cannot be dialed.
const FAILURES: usize = 3;
/// Before the same peer is asked again that could not get through; doubled each time.
const SAME_PEER: Duration = Duration::from_secs(60);
/// Before a peer is asked again that was too busy; a random part of it is added.
const BUSY: Duration = Duration::from_secs(1);
/// Before a peer is asked again that knows no probes, or whose answers cannot be used.
const USELESS: Duration = Duration::from_secs(3600);
/// Before it is all tried again where nobody got through; doubled each time.
const PRIVATE: Duration = Duration::from_secs(300);
/// No wait is doubled beyond this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Peers that can be asked: as many as can be connected; more are not entered.
const MAX_PEERS: usize = 1024;

/// Why a peer gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It will not now.
    Busy,
    /// It never will, or what it said is no answer.
    Useless,
}

/// What the finder wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To ask a peer to dial these ports; ends with one [`Finder::handle_answer`].
    Ask {
        /// Whom.
        peer: NodeId,
        /// Of this node's sockets.
        ports: Vec<u16>,
    },
    /// Other addresses are confirmed than before, or none any more.
    Changed,
}

#[derive(Debug)]
struct Peer {
    ip: IpAddr,
    not_before: Instant,
    asked: Option<Instant>,
    failures: u32,
}

/// Peers see this node alike when these are the same for them: the zone they are in, and whether over IPv4.
type View = (Zone, bool);

#[derive(Debug)]
struct Group {
    asking: Option<NodeId>,
    /// When to ask next.
    next: Instant,
    /// Who could not get through since somebody did.
    failed: Vec<NodeId>,
    /// How many times [`FAILURES`] peers could not in a row.
    rounds: u32,
}

#[derive(Debug)]
struct Address {
    /// By whose word, by the subnet they spoke from; at most two.
    witnesses: Vec<(NodeId, Subnet)>,
    until: Instant,
    confirmed: bool,
}

/// See the module.
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
    /// One that knows no peer. `seed` is where all its randomness comes from.
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

    /// Tells what the node listens on and which IPs this machine has. A change means that everything may be different.
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

    /// A peer is connected whose packets come from `ip`.
    pub fn peer_up(&mut self, now: Instant, node: NodeId, ip: IpAddr) {
        if ip.is_unspecified() || (self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&node)) {
            return;
        }
        self.peer_down(now, &node);
        self.peers.insert(node, Peer { ip, not_before: now, asked: None, failures: 0 });
        let new = Group { asking: None, next: now, failed: Vec::new(), rounds: 0 };
        self.groups.entry(view(ip)).or_insert(new);
    }

    /// A peer is not connected any more.
    pub fn peer_down(&mut self, now: Instant, node: &NodeId) {
        if let Some(peer) = self.peers.remove(node)
            && let Some(group) = self.groups.get_mut(&view(peer.ip))
            && group.asking == Some(*node)
        {
            group.asking = None;
            group.next = now;
        }
    }

    /// What became of a question.
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
                // What is no public address means something only on an interface of this machine.
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

    /// A peer got through to an address.
    fn confirm(&mut self, now: Instant, address: SocketAddr, witness: (NodeId, Subnet), enough: usize) {
        let zone = Zone::of(address.ip());
        let same_zone = self.addresses.keys().filter(|other| Zone::of(other.ip()) == zone);
        if !self.addresses.contains_key(&address) && same_zone.count() >= MAX_RECORD_ADDRESSES {
            // One that is a mere claim makes room, or else, but for what is sure only, the one not dialed for longest.
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
        // The newest word replaces an older one from the same subnet.
        entry.witnesses.retain(|(node, subnet)| *node != witness.0 && *subnet != witness.1);
        entry.witnesses.insert(0, witness);
        entry.witnesses.truncate(2);
        if !entry.confirmed && entry.witnesses.len() >= enough {
            entry.confirmed = true;
            self.outputs.push_back(Output::Changed);
        }
    }

    /// A peer asked among those of `asked_in`, which sees this node in `seen`, got through to nothing: after some
    /// others, what was confirmed there is not.
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

    /// A peer asked among those of `view` has just got through: nothing more to ask for a while, unless another must
    /// agree.
    fn schedule_recheck(&mut self, now: Instant, view: View) {
        let settled = self.addresses.values().any(|entry| entry.confirmed && entry.until == now + CONFIRMED);
        if let Some(group) = self.groups.get_mut(&view)
            && settled
        {
            group.next = now + AGAIN.mul_f64(1.0 + self.rng.random::<f64>() / 8.0);
        }
    }

    /// The next thing to do; to be called until there is none, after every other call.
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

    /// Those to ask among peers that see this node alike: none where it listens on nothing; and while an address waits
    /// for a second witness, one from the subnet of the first is none.
    fn candidates(&self, view: View) -> impl Iterator<Item = (&NodeId, &Peer)> {
        let listens = self.ports.iter().any(|(is_ipv4, port)| *is_ipv4 == view.1 && *port != 0);
        let of_view = self.peers.iter().filter(move |(_, peer)| listens && self::view(peer.ip) == view);
        let waiting = move || self.addresses.values().filter(|entry| !entry.confirmed);
        of_view.filter(move |(_, peer)| {
            let subnet = Subnet::of(peer.ip);
            !waiting().any(|entry| entry.witnesses.iter().any(|(_, of)| *of == subnet))
        })
    }

    /// Whom to ask: one that did not just fail, then the one that was asked longest ago.
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

    /// Forgets what was confirmed too long ago. [`Self::poll`] does the rest.
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
