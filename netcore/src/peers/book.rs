//! What is known of other nodes: addresses, from whom, and which of them worked. Pure; [`super::store`] keeps the
//! remembered part on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use polypeer_ipc_protocol::ids::NodeId;

use super::score::Standing;
use crate::transport::path::{is_synthetic, plain};

/// Nodes known at once; the one heard of least recently makes room. About 2 MiB at most.
pub const MAX_NODES: usize = 4096;
/// Of those, nodes that only ever dialed this one and are gone: anybody makes as many of them as there are keys. Beyond
/// this the oldest of them makes room, not somebody heard of elsewhere.
pub const MAX_GUESTS: usize = MAX_NODES / 2;
/// Nodes the operator protects: together with the low water mark far below the table's limit.
pub const MAX_PROTECTED: usize = 256;
/// Addresses of one node; the least promising makes room.
pub const MAX_ADDRESSES: usize = 16;

/// Where knowledge of a node comes from, the most promising first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The caller said so: a ticket, an address with a request.
    Ticket,
    /// The local network.
    Lan,
    /// The node itself said so.
    Peer,
    /// It connected from there.
    Incoming,
    /// A record of its own, passed on by another peer.
    Exchange,
    /// A record of its own, found in the distributed hash table.
    Dht,
    /// A ticket or an address in the domain name system.
    Dns,
    /// The built-in or configured list.
    List,
    /// The BitTorrent Mainline DHT.
    Mainline,
    /// The store of an earlier run.
    Remembered,
}

impl Source {
    /// The name in `polypeer peers` and `polypeer status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Lan => "lan",
            Self::Peer => "peer",
            Self::Incoming => "incoming",
            Self::Exchange => "exchange",
            Self::Dht => "dht",
            Self::Dns => "dns",
            Self::List => "list",
            Self::Mainline => "mainline",
            Self::Remembered => "remembered",
        }
    }
}

/// How much would be lost with a node, the least first; also in the store's file, as the numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Somebody named it.
    Named = 0,
    /// It was here.
    Guest = 1,
    /// It did harm, which must outlast those who come to have it forgotten.
    Banned = 2,
    /// It is connected, or was found where it was said to be.
    Peer = 3,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where.
    pub address: SocketAddr,
    /// The most promising source it came from.
    pub source: Source,
    /// When a connection was made there last, Unix seconds.
    pub worked: Option<u64>,
}

impl Known {
    /// Better ones first: what worked last, then by source.
    fn rank(&self) -> (std::cmp::Reverse<Option<u64>>, Source) {
        (std::cmp::Reverse(self.worked), self.source)
    }
}

/// All that is known of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Its addresses, best first.
    pub addresses: Vec<Known>,
    /// Whether to keep it over restarts and to dial it by ourselves.
    pub remembered: bool,
    /// Whether the operator cut it off.
    pub blocked: bool,
    /// Whether the operator wants it to be connected, whatever else is.
    pub protected: bool,
    /// What it is worth, and how long it is refused.
    pub standing: Standing,
    /// When it was connected last, Unix seconds.
    pub seen: Option<u64>,
    /// Whether it ever answered a dial of ours, so that it is somebody more than a key.
    pub dialed: bool,
    /// Whether it is connected; not kept on disk.
    pub connected: bool,
    /// Dials in a row that failed; not kept on disk.
    pub failures: u32,
    /// Not to be dialed by ourselves before then; not kept on disk.
    pub due: Option<Instant>,
    /// Counts up with every mention; says who was heard of least recently.
    pub(super) touched: u64,
}

impl Entry {
    /// The names of all sources that know it.
    pub fn sources(&self) -> Vec<String> {
        let mut sources: Vec<Source> = self.addresses.iter().map(|known| known.source).collect();
        if self.remembered {
            sources.push(Source::Remembered);
        }
        sources.sort();
        sources.dedup();
        sources.into_iter().map(|source| source.name().to_owned()).collect()
    }

    /// How much would be lost with it.
    pub(super) fn weight(&self) -> Weight {
        if self.connected || self.dialed {
            Weight::Peer
        } else if self.standing.was_banned() {
            Weight::Banned
        } else if self.remembered || self.standing != Standing::default() {
            Weight::Guest
        } else {
            Weight::Named
        }
    }

    fn learn(&mut self, address: SocketAddr, source: Source, worked: Option<u64>) -> bool {
        let before = self.addresses.clone();
        match self.addresses.iter_mut().find(|known| known.address == address) {
            Some(known) => {
                known.source = known.source.min(source);
                known.worked = known.worked.max(worked);
            }
            None => {
                // Nearly all nodes have one: room for more would be most of the book's memory.
                self.addresses.reserve_exact(1);
                self.addresses.push(Known { address, source, worked });
            }
        }
        self.addresses.sort_by_key(Known::rank);
        self.addresses.truncate(MAX_ADDRESSES);
        self.addresses != before
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<NodeId, Entry>,
    protected: BTreeSet<NodeId>,
    clock: u64,
}

impl Book {
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
        if !self.entries.contains_key(&node) && self.entries.len() >= MAX_NODES {
            let dispensable = || self.entries.iter().filter(|(_, entry)| !entry.blocked && !entry.protected);
            let is_guest = |entry: &Entry| matches!(entry.weight(), Weight::Guest | Weight::Banned);
            let crowded = dispensable().filter(|(_, entry)| is_guest(entry)).count() >= MAX_GUESTS;
            let order = |entry: &Entry| (!(crowded && is_guest(entry)), entry.weight(), entry.touched);
            let oldest = *dispensable().min_by_key(|(_, entry)| order(entry))?.0;
            self.entries.remove(&oldest);
        }
        let entry = self.entries.entry(node).or_default();
        entry.touched = self.clock;
        Some(entry)
    }
}

/// Whether a node can be there at all.
fn dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_synthetic(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::score::ScoreEvent;

    fn node(number: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    }

    fn address(last: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], last))
    }

    #[test]
    fn address_that_worked_last_is_tried_first_then_by_source() {
        let mut book = Book::default();
        book.learn(node(1), address(1), Source::Peer);
        book.learn(node(1), address(2), Source::Ticket);
        book.learn(node(1), address(3), Source::Lan);
        assert_eq!(book.candidates(&node(1)), [address(2), address(3), address(1)]);
        book.connected(node(1), Some(address(1)), Source::Peer, 100);
        book.connected(node(1), Some(address(3)), Source::Lan, 200);
        assert_eq!(book.candidates(&node(1)), [address(3), address(1), address(2)]);
        book.is_elsewhere(&node(1), address(3));
        assert_eq!(book.candidates(&node(1)), [address(1), address(2)]);
    }

    #[test]
    fn addresses_of_one_node_are_bounded_and_the_working_one_stays() {
        let mut book = Book::default();
        book.connected(node(1), Some(address(9)), Source::Remembered, 1);
        for port in 1000..1100 {
            book.learn(node(1), address(port), Source::Ticket);
        }
        assert_eq!(book.candidates(&node(1)).len(), MAX_ADDRESSES);
        assert_eq!(book.candidates(&node(1))[0], address(9));
    }

    #[test]
    fn nodes_are_bounded_and_strangers_make_room_first() {
        let mut book = Book::default();
        book.connected(node(0), Some(address(1)), Source::Ticket, 1);
        book.seen(&node(0), false, 1);
        book.set_blocked(node(1), true);
        for number in 2..MAX_NODES as u32 + 100 {
            book.learn(node(number), address(1), Source::Lan);
        }
        assert_eq!(book.iter().count(), MAX_NODES);
        assert!(book.get(&node(0)).is_some() && book.is_blocked(&node(1)));
        assert!(book.get(&node(2)).is_none() && book.get(&node(MAX_NODES as u32 + 99)).is_some());
    }

    #[test]
    fn full_of_blocked_nodes_it_takes_nobody_else() {
        let mut book = Book::default();
        let blocked = (0..MAX_NODES as u32 + 10).filter(|number| book.set_blocked(node(*number), true)).count();
        assert_eq!(blocked, MAX_NODES);
        assert!(!book.learn(node(u32::MAX), address(1), Source::Ticket));
    }

    #[test]
    fn protected_nodes_are_few_and_make_no_room_for_others() {
        let mut book = Book::default();
        let protected = (0..MAX_NODES as u32).filter(|number| book.set_protected(node(*number), true)).count();
        assert_eq!(protected, MAX_PROTECTED);
        for number in 0..2 * MAX_NODES as u32 {
            book.learn(node(100_000 + number), address(1), Source::Exchange);
        }
        assert!(
            (0..MAX_PROTECTED as u32)
                .all(|number| book.is_protected(&node(number)) && book.get(&node(number)).is_some())
        );
        assert!(book.set_protected(node(0), false) && !book.is_protected(&node(0)));
        assert!(book.set_protected(node(7_000_000), true), "its place is free again");
        book.forget(&node(7_000_000));
        assert!(!book.is_protected(&node(7_000_000)));
    }

    #[test]
    fn guests_however_many_take_no_place_of_peers_bans_and_half_of_those_who_were_named() {
        let mut book = Book::default();
        for number in 0..100 {
            book.connected(node(number), Some(address(1)), Source::Exchange, 1);
            book.known(&node(number)).expect("known").dialed = true;
            book.seen(&node(number), false, 2);
        }
        book.connected(node(100), Some(address(1)), Source::Incoming, 1);
        while !book.standing(node(101)).expect("room").count(100, ScoreEvent::Misbehaved) {}
        for number in 1000..1000 + MAX_NODES as u32 {
            book.learn(node(number), address(1), Source::Exchange);
        }
        for number in 0..3 * MAX_NODES as u32 {
            let guest = node(100_000 + number);
            book.connected(guest, Some(address(1)), Source::Incoming, 1);
            book.seen(&guest, false, 2);
        }
        assert_eq!(book.iter().count(), MAX_NODES);
        assert!((0..100).all(|number| book.get(&node(number)).is_some()), "those dialed once");
        assert!(book.get(&node(100)).is_some(), "one that is connected");
        assert!(book.get(&node(101)).expect("known").standing.banned_for(100).is_some());
        let named = book.iter().filter(|(_, entry)| entry.weight() == Weight::Named).count();
        assert!(named >= MAX_NODES - MAX_GUESTS - 102, "{named}");
    }

    #[test]
    fn a_ban_outlasts_a_flood_of_strangers() {
        let mut book = Book::default();
        while !book.standing(node(1)).expect("room").count(100, ScoreEvent::Misbehaved) {}
        for number in 0..2 * MAX_NODES as u32 {
            book.learn(node(100_000 + number), address(1), Source::Exchange);
        }
        assert!(book.get(&node(1)).expect("known").standing.banned_for(100).is_some());
        book.drop_stranger(&node(1));
        assert!(book.get(&node(1)).is_some());
    }

    #[test]
    fn forgotten_node_stays_blocked() {
        let mut book = Book::default();
        book.connected(node(1), Some(address(1)), Source::Ticket, 1);
        book.set_blocked(node(1), true);
        book.forget(&node(1));
        assert!(book.is_blocked(&node(1)) && book.candidates(&node(1)).is_empty());
        book.set_blocked(node(1), false);
        book.forget(&node(1));
        assert!(book.get(&node(1)).is_none());
    }

    #[test]
    fn an_address_in_two_forms_is_one() {
        let mut book = Book::default();
        assert!(book.learn(node(1), "[::ffff:192.0.2.1]:1".parse().expect("address"), Source::Peer));
        assert!(!book.learn(node(1), address(1), Source::Peer));
        assert_eq!(book.candidates(&node(1)), [address(1)]);
    }

    #[test]
    fn address_nobody_can_be_at_is_not_kept() {
        let mut book = Book::default();
        for text in [
            "0.0.0.0:1",
            "192.0.2.1:0",
            "224.0.0.1:5",
            "[::]:1",
            "[ff02::1]:1",
            "[fd70:6f6c:7970::5]:1",
            "[::ffff:0.0.0.0]:1",
        ] {
            assert!(!book.learn(node(1), text.parse().expect("address"), Source::Ticket), "{text}");
        }
        assert!(book.get(&node(1)).is_none());
    }
}
