//! What is known of other nodes: addresses, from whom, and which of them worked. Pure; netcore's `peers::store` keeps the
//! remembered part on disk.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use polypeer_ipc_protocol::ids::NodeId;

use super::score::Standing;
use crate::socket_address::{is_synthetic, plain};
use crate::source::Source;
pub use entry::{Entry, Known, Weight};

/// Nodes known at once; the one heard of least recently makes room. About 2 MiB at most.
pub const MAX_NODES: usize = 4096;
/// Of those, the part of nodes that only ever dialed this one and are gone: anybody makes as many of them as there are keys.
/// Beyond this the oldest of them makes room, not somebody heard of elsewhere.
const GUESTS: usize = 2;
/// The part of nodes that are chosen at once to make room.
const LEAVING: usize = 16;
/// Nodes the operator protects: together with the low water mark far below the table's limit.
pub const MAX_PROTECTED: usize = 256;
/// Addresses of one node; the least promising makes room.
pub const MAX_ADDRESSES: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Book {
    most: usize,
    entries: BTreeMap<NodeId, Entry>,
    protected: BTreeSet<NodeId>,
    clock: u64,
    /// Who makes room next, the first last, as they were when all were last looked at.
    leaving: Vec<(NodeId, Weight, u64)>,
}

impl Default for Book {
    fn default() -> Self {
        Self::of(MAX_NODES)
    }
}

impl Book {
    /// An empty one for at most so many nodes; for where thousands of books share one memory.
    pub fn of(most: usize) -> Self {
        Self { most, entries: BTreeMap::new(), protected: BTreeSet::new(), clock: 0, leaving: Vec::new() }
    }

    /// What is known of `node`.
    pub fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    /// Everybody known, blocked ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.iter()
    }

    /// Whether the operator cut `node` off.
    pub fn is_blocked(&self, node: &NodeId) -> bool {
        self.entries.get(node).is_some_and(|entry| entry.blocked)
    }

    /// Addresses to try, best first.
    pub fn candidates(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.get(node).map(|entry| entry.addresses.iter().map(|known| known.address).collect()).unwrap_or_default()
    }

    /// Adds an address; returns whether that changed anything. An address nobody can be dialed at is left out.
    pub fn learn(&mut self, node: NodeId, address: SocketAddr, source: Source) -> bool {
        let address = plain(address);
        dialable(address) && self.entry(node).is_some_and(|entry| entry.learn(address, source, None))
    }

    /// A connection was made with `node`, at `address` if it is one to dial again: from now on it is remembered.
    pub fn connected(&mut self, node: NodeId, address: Option<SocketAddr>, source: Source, now: u64) {
        if let Some(entry) = self.entry(node) {
            entry.remembered = true;
            entry.seen = Some(now);
            entry.connected = true;
            if let Some(address) = address.map(plain).filter(|address| dialable(*address)) {
                entry.learn(address, source, Some(now));
            }
        }
    }

    /// The connection with `node` stood until `now`, and stands on if `connected`.
    pub fn seen(&mut self, node: &NodeId, connected: bool, now: u64) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.connected = connected;
            entry.seen = Some(now);
        }
    }

    /// Somebody else lives at `address`.
    pub fn is_elsewhere(&mut self, node: &NodeId, address: SocketAddr) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.addresses.retain(|known| known.address != address);
        }
    }

    /// Cuts `node` off or lets it back. `false`: there is no room for one more blocked node.
    pub fn set_blocked(&mut self, node: NodeId, blocked: bool) -> bool {
        if !blocked && self.get(&node).is_none() {
            return true;
        }
        self.entry(node).map(|entry| entry.blocked = blocked).is_some()
    }

    /// Who the operator wants to be connected, in order.
    pub fn protected(&self) -> &BTreeSet<NodeId> {
        &self.protected
    }

    /// Whether `node` is one of them.
    pub fn is_protected(&self, node: &NodeId) -> bool {
        self.protected.contains(node)
    }

    /// Protects `node` or stops it. `false`: there is no room for one more.
    pub fn set_protected(&mut self, node: NodeId, protected: bool) -> bool {
        if protected && !self.is_protected(&node) && self.protected.len() >= MAX_PROTECTED {
            return false;
        }
        if !protected {
            self.protected.remove(&node);
            if let Some(entry) = self.entries.get_mut(&node) {
                entry.protected = false;
            }
            return true;
        }
        let placed = self.entry(node).map(|entry| entry.protected = true).is_some();
        if placed {
            self.protected.insert(node);
        }
        placed
    }

    /// What changes at a known node without its being mentioned.
    pub fn known(&mut self, node: &NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(node)
    }

    /// The standing of `node`, to be changed; `None` when there is no room for it.
    pub fn standing(&mut self, node: NodeId) -> Option<&mut Standing> {
        self.entry(node).map(|entry| &mut entry.standing)
    }

    /// Drops a stranger nobody has anything to say about.
    pub fn drop_stranger(&mut self, node: &NodeId) {
        let dispensable = |entry: &Entry| {
            !entry.remembered && !entry.blocked && !entry.protected && entry.standing == Standing::default()
        };
        if self.get(node).is_some_and(dispensable) {
            self.entries.remove(node);
        }
    }

    /// Drops all that is known of `node` but a block.
    pub fn forget(&mut self, node: &NodeId) {
        self.protected.remove(node);
        if self.is_blocked(node) {
            self.entries.insert(*node, Entry { blocked: true, ..Entry::default() });
        } else {
            self.entries.remove(node);
        }
    }

    /// Puts back what the store kept.
    pub fn restore(&mut self, node: NodeId, entry: Entry) {
        if let Some(place) = self.entry(node) {
            *place = Entry { touched: place.touched, ..entry };
            place.addresses.sort_by_key(Known::rank);
            place.addresses.truncate(MAX_ADDRESSES);
            if place.protected {
                self.protected.insert(node);
            }
        }
    }

    /// The entry of `node`, made if there is room or somebody dispensable: the least [`Weight`] first, but guests before
    /// those who were named when there are many guests; nobody blocked or protected.
    fn entry(&mut self, node: NodeId) -> Option<&mut Entry> {
        self.clock += 1;
        if !self.entries.contains_key(&node) && self.entries.len() >= self.most {
            let leaves = self.next_to_leave().or_else(|| {
                self.choose_leaving();
                self.next_to_leave()
            })?;
            self.entries.remove(&leaves);
        }
        let entry = self.entries.entry(node).or_default();
        entry.touched = self.clock;
        Some(entry)
    }

    /// Who was chosen to leave and is as it was then.
    fn next_to_leave(&mut self) -> Option<NodeId> {
        while let Some((node, weight, touched)) = self.leaving.pop() {
            let same = |entry: &Entry| entry.touched == touched && entry.weight() == weight;
            if self.entries.get(&node).is_some_and(|entry| is_dispensable(entry) && same(entry)) {
                return Some(node);
            }
        }
        None
    }

    /// Chooses who makes room next, a few at once: looking at all of them for each would be most of what a full book costs.
    fn choose_leaving(&mut self) {
        let dispensable = || self.entries.iter().filter(|(_, entry)| is_dispensable(entry));
        let is_guest = |entry: &Entry| matches!(entry.weight(), Weight::Guest | Weight::Banned);
        let guests = dispensable().filter(|(_, entry)| is_guest(entry)).count();
        let missing = (self.most / GUESTS).saturating_sub(guests);
        let crowded = missing == 0;
        let order = |entry: &Entry| (!(crowded && is_guest(entry)), entry.weight(), entry.touched);
        let mut all: Vec<_> = dispensable().map(|(node, entry)| (order(entry), *node)).collect();
        // Only of those whom whoever comes next weighs as little as, and no more than until guests, if they take all these
        // places, are to go first.
        let least = all.iter().filter(|((calm, weight, _), _)| !calm || *weight == Weight::Named).count();
        let few = if crowded { least } else { least.min(missing) }.min(self.most / LEAVING).max(1);
        if few < all.len() {
            all.select_nth_unstable(few - 1);
            all.truncate(few);
        }
        all.sort_unstable();
        self.leaving = all.into_iter().rev().map(|((_, weight, touched), node)| (node, weight, touched)).collect();
    }
}

fn is_dispensable(entry: &Entry) -> bool {
    !entry.blocked && !entry.protected
}

/// Whether a node can be there at all.
fn dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_synthetic(address)
}
