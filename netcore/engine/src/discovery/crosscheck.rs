//! Whose word for other nodes is believed how far. Pure.
//!
//! A seed that was dialed without a node id, from the domain name system, a list or the Mainline DHT, may be anybody's: it
//! is *unverified*. It may tell of a hundred nodes that are all its own, and these of each other. So each node has
//! *origins*: on whose word it was dialed. A node with one origin that is not trusted hands that origin on to all it
//! names; nodes of one origin fill only a part of the places that this node fills by itself ([`CrossCheck::new`]). A
//! node named by two origins, in different subnets, or by a peer that is verified itself, is verified.
//!
//! This bounds what one liar can do alone, until somebody else is found who can be asked. Against many, in many subnets,
//! stand the caps and scores of [`crate::peers`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::address::{AddressRecord, Subnet, Zone};
use crate::now::Now;
use crate::source::Introduction;

/// Nodes whose origins are remembered; those that are not connected make room first, the oldest before the others.
const MAX_NODES: usize = 2048;
/// Origins remembered of one node: two are enough to verify it.
const MAX_ORIGINS: usize = 2;
/// Records of nodes that wait for a place or a second origin. The oldest makes room.
const MAX_WAITING: usize = 256;
/// For so long a dial takes a place; then it has failed, or stands.
const DIAL: Duration = Duration::from_secs(20);
/// A node that is not connected is forgotten after this long: its origins say little about who is there then.
const FORGET: Duration = Duration::from_secs(3600);

/// On whose word a node is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The operator's, that of a node that is verified, or of the local network.
    Trusted,
    /// That of somebody in this public subnet: nodes there count as one.
    Subnet(Subnet),
    /// That of this node, which has no public address: a LAN is one subnet, and no attack.
    Node(NodeId),
    /// The DHT's, where it cannot be said whose.
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
    /// It was asked for others without being connected.
    is_asked: bool,
    /// Until then a dial takes a place.
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

/// See the module.
#[derive(Debug)]
pub struct CrossCheck {
    /// Places that one origin alone may fill.
    share: usize,
    members: BTreeMap<NodeId, Member>,
    waiting: BTreeMap<NodeId, (Arc<AddressRecord>, Instant)>,
}

impl CrossCheck {
    /// For a node that wants at least `low` peers: what one origin alone vouches for fills at most half of that.
    pub fn new(low: usize) -> Self {
        Self { share: (low / 2).max(1), members: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// A peer is connected, from `ip`.
    pub fn connected(&mut self, now: Now, node: NodeId, ip: IpAddr, introduction: Introduction) {
        let member = self.met(now, node, ip, introduction);
        member.is_connected = true;
        member.dialing = None;
    }

    /// A node at `ip` that has no place for a connection is asked for others: from now on it may name them.
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
            // Forgotten meanwhile, it speaks for itself.
            Introduction::Peer if member.origins.is_empty() => member.add(Origin::place(node, ip)),
            Introduction::Peer => {}
        }
        member
    }

    /// A connection has ended.
    pub fn disconnected(&mut self, now: Now, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node) {
            member.is_connected = false;
            member.since = now.at;
        }
    }

    /// Nodes that it takes for connected and that are not among these.
    pub fn not_among(&self, connected: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let gone = self.members.iter().filter(|(node, member)| member.is_connected && !connected.contains(node));
        gone.map(|(node, _)| *node).collect()
    }

    /// `by` named a node. Whether to dial that now; otherwise it waits, and [`Self::poll`] gives it when its time comes.
    pub fn introduced(&mut self, now: Now, by: &NodeId, record: Arc<AddressRecord>) -> bool {
        let origin = match self.members.get(by) {
            Some(by) if by.is_verified() => Origin::Trusted,
            Some(by) => by.origins.first().copied().unwrap_or(Origin::Dht),
            // Forgotten, or never met: nobody's word.
            None => return false,
        };
        self.named(now, origin, record)
    }

    /// A lookup in the DHT led to a node. While all who could have answered have one origin, it is that one's word.
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

    /// A node that waited and may be dialed now.
    pub fn poll(&mut self, now: Now) -> Option<Arc<AddressRecord>> {
        let nodes: Vec<NodeId> = self.waiting.keys().copied().collect();
        let node = nodes.into_iter().find(|node| self.enter(now, node))?;
        self.waiting.remove(&node).map(|(record, _)| record)
    }

    /// Takes a place for a dial, if there is one.
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

    /// Places filled on the word of `origin` alone.
    fn alone(&self, now: Now, origin: Origin) -> usize {
        let alone = |member: &&Member| member.takes_place(now) && !member.is_verified() && member.origins == [origin];
        self.members.values().filter(alone).count()
    }

    /// Whether a peer is a seed, and nobody else has said so far that it belongs to the network.
    pub fn is_unverified(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|member| member.is_seed && !member.is_verified())
    }

    /// Connected peers, of which those that one origin alone vouches for count up to its share: whoever surrounds this
    /// node does not make it stop looking.
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
