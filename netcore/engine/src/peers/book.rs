//! The peer book: the known nodes with their addresses, the sources of these, and which of them worked. Pure; netcore's
//! `peers::store` keeps the remembered part on disk.

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

/// Most nodes in the book, about 2 MiB. A further one replaces the least valuable one ([`Weight`]), and of equals the
/// one heard of least recently.
pub const MAX_NODES: usize = 4096;
/// Guests may be one in this many nodes of the book: nodes that dialed this one, never answered a dial of it, and are
/// not connected, banned ones included. An attacker can create any number of them. Beyond this a guest is replaced, not
/// a node that somebody named.
const GUEST_PART: usize = 2;
/// At most one in this many nodes of the book is chosen in advance to make room.
const EVICTION_PART: usize = 16;
/// Most nodes that the operator may protect: together with the low watermark far below the limit of the connection
/// table.
pub const MAX_PROTECTED: usize = 256;
/// Most addresses of one node; a further one replaces the least promising.
pub const MAX_ADDRESSES: usize = 16;

/// The known nodes, bounded.
#[derive(Debug)]
pub struct Book {
    most: usize,
    entries: BTreeMap<NodeId, Entry>,
    protected: BTreeSet<NodeId>,
    clock: u64,
    /// The nodes that make room next, the first of them last; each with its weight and `touched` when it was chosen.
    evictions: Vec<(NodeId, Weight, u64)>,
}

impl Default for Book {
    fn default() -> Self {
        Self::of(MAX_NODES)
    }
}

impl Book {
    /// Creates an empty book for at most `most` nodes; the simulator holds thousands of small ones.
    pub fn of(most: usize) -> Self {
        Self { most, entries: BTreeMap::new(), protected: BTreeSet::new(), clock: 0, evictions: Vec::new() }
    }

    /// The entry of `node`.
    pub fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    /// All known nodes, blocked ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.iter()
    }

    /// Whether the operator has blocked `node`.
    pub fn is_blocked(&self, node: &NodeId) -> bool {
        self.entries.get(node).is_some_and(|entry| entry.blocked)
    }

    /// The addresses at which to dial `node`, best first.
    pub fn candidates(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.get(node).map(|entry| entry.addresses.iter().map(|known| known.address).collect()).unwrap_or_default()
    }

    /// Adds an address; returns whether that changed anything. Ignores an address that cannot be dialed.
    pub fn learn(&mut self, node: NodeId, address: SocketAddr, source: Source) -> bool {
        let address = plain(address);
        dialable(address) && self.entry(node).is_some_and(|entry| entry.learn(address, source, None))
    }

    /// Notes a connection with `node`, at Unix second `now`: it is remembered from now on. `address` is where to dial
    /// it again, if that is known.
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

    /// Notes that the connection with `node` stood until Unix second `now`; `connected` tells whether it still stands.
    pub fn seen(&mut self, node: &NodeId, connected: bool, now: u64) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.connected = connected;
            entry.seen = Some(now);
        }
    }

    /// Removes `address` from `node`: another node answered there.
    pub fn is_elsewhere(&mut self, node: &NodeId, address: SocketAddr) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.addresses.retain(|known| known.address != address);
        }
    }

    /// Blocks or unblocks `node`. Returns `false` if there is no room for one more blocked node.
    pub fn set_blocked(&mut self, node: NodeId, blocked: bool) -> bool {
        if !blocked && self.get(&node).is_none() {
            return true;
        }
        self.entry(node).map(|entry| entry.blocked = blocked).is_some()
    }

    /// The nodes that the operator protects, sorted by id.
    pub fn protected(&self) -> &BTreeSet<NodeId> {
        &self.protected
    }

    /// Whether the operator protects `node`.
    pub fn is_protected(&self, node: &NodeId) -> bool {
        self.protected.contains(node)
    }

    /// Begins or ends the protection of `node`. Returns `false` if there is no room for one more.
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

    /// The entry of a known node, to be changed; does not count as hearing of it.
    pub fn known(&mut self, node: &NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(node)
    }

    /// The standing of `node`, to be changed; `None` if there is no room for the node.
    pub fn standing(&mut self, node: NodeId) -> Option<&mut Standing> {
        self.entry(node).map(|entry| &mut entry.standing)
    }

    /// Removes `node` unless it is remembered, blocked, protected, or has a score or ban.
    pub fn drop_stranger(&mut self, node: &NodeId) {
        let dispensable = |entry: &Entry| {
            !entry.remembered && !entry.blocked && !entry.protected && entry.standing == Standing::default()
        };
        if self.get(node).is_some_and(dispensable) {
            self.entries.remove(node);
        }
    }

    /// Removes all that is known of `node` except a block.
    pub fn forget(&mut self, node: &NodeId) {
        self.protected.remove(node);
        if self.is_blocked(node) {
            self.entries.insert(*node, Entry { blocked: true, ..Entry::default() });
        } else {
            self.entries.remove(node);
        }
    }

    /// Puts back an entry that the store kept.
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

    /// The entry of `node`, created if needed. In a full book it replaces the node of the least [`Weight`]; guests come
    /// before named nodes once there are too many guests. Blocked and protected nodes are never replaced; `None` if all
    /// are.
    fn entry(&mut self, node: NodeId) -> Option<&mut Entry> {
        self.clock += 1;
        if !self.entries.contains_key(&node) && self.entries.len() >= self.most {
            let leaves = self.next_eviction().or_else(|| {
                self.choose_evictions();
                self.next_eviction()
            })?;
            self.entries.remove(&leaves);
        }
        let entry = self.entries.entry(node).or_default();
        entry.touched = self.clock;
        Some(entry)
    }

    /// The next node to replace: one that was chosen and has not changed since.
    fn next_eviction(&mut self) -> Option<NodeId> {
        while let Some((node, weight, touched)) = self.evictions.pop() {
            let same = |entry: &Entry| entry.touched == touched && entry.weight() == weight;
            if self.entries.get(&node).is_some_and(|entry| is_dispensable(entry) && same(entry)) {
                return Some(node);
            }
        }
        None
    }

    /// Chooses the next nodes to replace, several at once: a search for each single one would be most of the cost of a
    /// full book.
    fn choose_evictions(&mut self) {
        let dispensable = || self.entries.iter().filter(|(_, entry)| is_dispensable(entry));
        let is_guest = |entry: &Entry| matches!(entry.weight(), Weight::Guest | Weight::Banned);
        let guests = dispensable().filter(|(_, entry)| is_guest(entry)).count();
        let missing = (self.most / GUEST_PART).saturating_sub(guests);
        let crowded = missing == 0;
        let order = |entry: &Entry| (!(crowded && is_guest(entry)), entry.weight(), entry.touched);
        let mut all: Vec<_> = dispensable().map(|(node, entry)| (order(entry), *node)).collect();
        // In advance it chooses only nodes that go before any newcomer: named ones, and guests while there are too many
        // of them. And no more than `missing`: once guests have taken that many places, guests go first. At least one
        // goes.
        let least = all.iter().filter(|((calm, weight, _), _)| !calm || *weight == Weight::Named).count();
        let few = if crowded { least } else { least.min(missing) }.min(self.most / EVICTION_PART).max(1);
        if few < all.len() {
            all.select_nth_unstable(few - 1);
            all.truncate(few);
        }
        all.sort_unstable();
        self.evictions = all.into_iter().rev().map(|((_, weight, touched), node)| (node, weight, touched)).collect();
    }
}

fn is_dispensable(entry: &Entry) -> bool {
    !entry.blocked && !entry.protected
}

/// Whether a node can be dialed at `address`.
fn dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_synthetic(address)
}
