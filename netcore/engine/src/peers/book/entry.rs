//! The entry of one node in the book: addresses, the operator's decisions, standing, and how valuable it is.

use std::net::SocketAddr;
use std::time::Instant;

use super::MAX_ADDRESSES;
use crate::peers::score::Standing;
use crate::source::Source;

/// How valuable an entry is, the least valuable first. The numbers are stored in `peers.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A source named it; there was no connection.
    Named = 0,
    /// It was connected, but never answered a dial of this node.
    Guest = 1,
    /// It was banned. This must not be forgotten because others dial this node.
    Banned = 2,
    /// It is connected, or has answered a dial of this node.
    Peer = 3,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub address: SocketAddr,
    /// The most promising of its sources.
    pub source: Source,
    /// Unix seconds of the last connection made there.
    pub worked: Option<u64>,
}

impl Known {
    /// The sort key, best first: the latest connection, then the source.
    pub(super) fn rank(&self) -> (std::cmp::Reverse<Option<u64>>, Source) {
        (std::cmp::Reverse(self.worked), self.source)
    }
}

/// All that is known of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Its addresses, best first.
    pub addresses: Vec<Known>,
    /// Whether it is kept on disk and dialed without being asked for.
    pub remembered: bool,
    pub blocked: bool,
    pub protected: bool,
    /// Its score and its bans.
    pub standing: Standing,
    /// Unix seconds at which it was last connected.
    pub seen: Option<u64>,
    /// Whether it ever answered a dial of this node: then there is a node behind its key.
    pub dialed: bool,
    /// Whether it is connected; not kept on disk.
    pub connected: bool,
    /// Dials in a row that failed; not kept on disk.
    pub failures: u32,
    /// The manager dials it no earlier than this, unless asked; not kept on disk.
    pub due: Option<Instant>,
    /// The book's clock when the node was last heard of; it orders nodes by how recent that was.
    pub touched: u64,
}

impl Entry {
    /// The names of all its sources.
    pub fn sources(&self) -> Vec<String> {
        let mut sources: Vec<Source> = self.addresses.iter().map(|known| known.source).collect();
        if self.remembered {
            sources.push(Source::Remembered);
        }
        sources.sort();
        sources.dedup();
        sources.into_iter().map(|source| source.name().to_owned()).collect()
    }

    /// Seconds for which it is still banned at Unix second `unix`; a protected peer is never banned.
    pub fn banned_for(&self, unix: u64) -> Option<u64> {
        if self.protected { None } else { self.standing.banned_for(unix) }
    }

    /// Its value when another entry needs room.
    pub fn weight(&self) -> Weight {
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

    pub(super) fn learn(&mut self, address: SocketAddr, source: Source, worked: Option<u64>) -> bool {
        let said = |known: &Known| known.address == address && known.source <= source && known.worked >= worked;
        if self.addresses.iter().any(said) {
            return false;
        }
        let before = self.addresses.clone();
        match self.addresses.iter_mut().find(|known| known.address == address) {
            Some(known) => {
                known.source = known.source.min(source);
                known.worked = known.worked.max(worked);
            }
            None => {
                // Nearly all nodes have one address: room for more would be most of the book's memory.
                self.addresses.reserve_exact(1);
                self.addresses.push(Known { address, source, worked });
            }
        }
        self.addresses.sort_by_key(Known::rank);
        self.addresses.truncate(MAX_ADDRESSES);
        self.addresses != before
    }
}
