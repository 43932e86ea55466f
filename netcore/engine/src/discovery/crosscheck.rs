//! The limit on connections for which a single unverified origin vouches. Pure.
//!
//! A seed that was dialed without a node id (from DNS, a list or the Mainline DHT) may belong to anybody: it is
//! *unverified*. It may name a hundred nodes that all belong to it, and these may name each other. So each node has
//! *origins*: the parties that named it. A node with a single origin that is not trusted passes this origin on to all
//! nodes that it names. Nodes that have only this one origin fill no more than a share of the places
//! ([`CrossCheck::new`]). A node is verified once origins in two subnets have named it, or a peer that is verified
//! itself.
//!
//! This bounds what one liar can do, until this node finds somebody else to ask. Against many liars in many subnets
//! there are the limits and scores of [`crate::peers`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::address::{AddressRecord, Subnet, Zone};
use crate::now::Now;
use crate::source::Introduction;

/// Most nodes whose origins are remembered. A further one replaces the oldest that is neither connected nor being
/// dialed, or else the oldest.
const MAX_NODES: usize = 2048;
/// Most origins remembered of one node: two verify it.
const MAX_ORIGINS: usize = 2;
/// Most nodes that wait for a place or a second origin; a further one replaces the oldest.
const MAX_WAITING: usize = 256;
/// How long a dial takes a place: after that it has succeeded or failed.
const DIAL: Duration = Duration::from_secs(20);
/// How long a node that is not connected is remembered: later its origins say little about it.
const FORGET: Duration = Duration::from_secs(3600);

/// A party that vouches for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The operator, a verified node, or the local network.
    Trusted,
    /// The nodes in this public subnet, which count as one.
    Subnet(Subnet),
    /// A node without a public address: the nodes of a LAN are in one subnet, but not one party.
    Node(NodeId),
    /// The DHT, if its answers are not those of a single origin.
    Dht,
}

impl Origin {
    fn place(node: NodeId, ip: IpAddr) -> Self {
        match Zone::of(ip) {
            Zone::Public => Self::Subnet(Subnet::of(ip)),
            Zone::Private | Zone::Loopback => Self::Node(node),
        }
    }
}

#[derive(Debug)]
struct Member {
    origins: Vec<Origin>,
    is_seed: bool,
    is_connected: bool,
    /// Whether it was asked for other nodes without a link.
    is_asked: bool,
    /// Until when a dial of it takes a place.
    dialing: Option<Instant>,
    since: Instant,
}

impl Member {
    fn is_verified(&self) -> bool {
        self.origins.contains(&Origin::Trusted) || self.origins.len() >= MAX_ORIGINS
    }

    fn add(&mut self, origin: Origin) {
        if !self.is_verified() && !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
    }

    fn takes_place(&self, now: Now) -> bool {
        self.is_connected || self.dialing.is_some_and(|until| until > now.at)
    }
}

/// The origins of nodes, and the nodes that wait for a place.
#[derive(Debug)]
pub struct CrossCheck {
    /// Most places that nodes with the same single origin may fill.
    share: usize,
    members: BTreeMap<NodeId, Member>,
    waiting: BTreeMap<NodeId, (Arc<AddressRecord>, Instant)>,
}

impl CrossCheck {
    /// Creates one for a node with the low watermark `low`: nodes with the same single origin fill at most half of it,
    /// and at least one place.
    pub fn new(low: usize) -> Self {
        Self { share: (low / 2).max(1), members: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// A peer whose packets come from `ip` is connected.
    pub fn connected(&mut self, now: Now, node: NodeId, ip: IpAddr, introduction: Introduction) {
        let member = self.met(now, node, ip, introduction);
        member.is_connected = true;
        member.dialing = None;
    }

    /// A full node at `ip` is asked for others: from now on it may name them.
    pub fn asked(&mut self, now: Now, node: NodeId, ip: IpAddr, introduction: Introduction) {
        let member = self.met(now, node, ip, introduction);
        member.is_asked = true;
        member.dialing = None;
    }

    fn met(&mut self, now: Now, node: NodeId, ip: IpAddr, introduction: Introduction) -> &mut Member {
        let member = self.member(now, node);
        member.since = now.at;
        match introduction {
            Introduction::Trusted => member.add(Origin::Trusted),
            Introduction::Itself => member.add(Origin::place(node, ip)),
            Introduction::Seed => {
                member.is_seed = true;
                member.add(Origin::place(node, ip));
            }
            // It was forgotten in the meantime: it vouches for itself.
            Introduction::Peer if member.origins.is_empty() => member.add(Origin::place(node, ip)),
            Introduction::Peer => {}
        }
        member
    }

    /// The connection with `node` has ended.
    pub fn disconnected(&mut self, now: Now, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node) {
            member.is_connected = false;
            member.since = now.at;
        }
    }

    /// The nodes that count as connected here, but are not among `connected`.
    pub fn not_among(&self, connected: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let gone = self.members.iter().filter(|(node, member)| member.is_connected && !connected.contains(node));
        gone.map(|(node, _)| *node).collect()
    }

    /// `by` named the owner of `record`. Returns whether to dial it now; otherwise it waits until [`Self::poll`]
    /// returns it.
    pub fn introduced(&mut self, now: Now, by: &NodeId, record: Arc<AddressRecord>) -> bool {
        let origin = match self.members.get(by) {
            Some(by) if by.is_verified() => Origin::Trusted,
            Some(by) => by.origins.first().copied().unwrap_or(Origin::Dht),
            // Forgotten or never connected: it vouches for nobody.
            None => return false,
        };
        self.named(now, origin, record)
    }

    /// A lookup in the DHT found the owner of `record`. While all nodes that could have answered have the same single
    /// origin, that is its origin, too. Returns whether to dial it now.
    pub fn looked_up(&mut self, now: Now, record: Arc<AddressRecord>) -> bool {
        let mut told = self.members.values().filter(|member| member.is_connected || member.is_asked);
        let only = told.next().filter(|member| !member.is_verified()).and_then(|member| member.origins.first());
        let only = only.copied().filter(|only| told.all(|member| !member.is_verified() && member.origins == [*only]));
        self.named(now, only.unwrap_or(Origin::Dht), record)
    }

    fn named(&mut self, now: Now, origin: Origin, record: Arc<AddressRecord>) -> bool {
        let node = record.node;
        self.member(now, node).add(origin);
        if self.enter(now, &node) {
            self.waiting.remove(&node);
            return true;
        }
        if !self.members.get(&node).is_some_and(|member| member.takes_place(now)) {
            self.waiting.insert(node, (record, now.at));
            if self.waiting.len() > MAX_WAITING
                && let Some(oldest) = self.waiting.iter().min_by_key(|(_, (_, at))| *at).map(|(node, _)| *node)
            {
                self.waiting.remove(&oldest);
            }
        }
        false
    }

    /// The record of a node that waited and may be dialed now; call it again until there is none.
    pub fn poll(&mut self, now: Now) -> Option<Arc<AddressRecord>> {
        let nodes: Vec<NodeId> = self.waiting.keys().copied().collect();
        let node = nodes.into_iter().find(|node| self.enter(now, node))?;
        self.waiting.remove(&node).map(|(record, _)| record)
    }

    /// Takes a place for a dial of `node`; returns whether there was one.
    fn enter(&mut self, now: Now, node: &NodeId) -> bool {
        let Some(member) = self.members.get(node) else { return false };
        if member.takes_place(now) {
            return false;
        }
        let free =
            member.is_verified() || member.origins.first().is_some_and(|origin| self.alone(now, *origin) < self.share);
        if let Some(member) = self.members.get_mut(node).filter(|_| free) {
            member.dialing = Some(now.at + DIAL);
        }
        free
    }

    /// The places filled by nodes whose single origin is `origin`.
    fn alone(&self, now: Now, origin: Origin) -> usize {
        let alone = |member: &&Member| member.takes_place(now) && !member.is_verified() && member.origins == [origin];
        self.members.values().filter(alone).count()
    }

    /// Whether `node` is a seed that no second origin has named yet.
    pub fn is_unverified(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|member| member.is_seed && !member.is_verified())
    }

    /// The number of connected peers; those with the same single origin count only up to its share. So an attacker that
    /// surrounds this node cannot make it stop its search.
    pub fn count(&self) -> usize {
        let mut alone: BTreeMap<Origin, usize> = BTreeMap::new();
        let mut verified = 0;
        for member in self.members.values().filter(|member| member.is_connected) {
            match member.origins.first() {
                Some(origin) if !member.is_verified() => *alone.entry(*origin).or_default() += 1,
                _ => verified += 1,
            }
        }
        verified + alone.values().map(|count| (*count).min(self.share)).sum::<usize>()
    }

    fn member(&mut self, now: Now, node: NodeId) -> &mut Member {
        if self.members.len() >= MAX_NODES && !self.members.contains_key(&node) {
            self.make_room(now);
        }
        self.members.entry(node).or_insert_with(|| Member {
            origins: Vec::new(),
            is_seed: false,
            is_connected: false,
            is_asked: false,
            dialing: None,
            since: now.at,
        })
    }

    fn make_room(&mut self, now: Now) {
        self.members.retain(|_, member| member.is_connected || member.since + FORGET > now.at);
        if self.members.len() >= MAX_NODES {
            let oldest = self.members.iter().min_by_key(|(_, member)| (member.takes_place(now), member.since));
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.members.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
