//! What is known of one node, and how much would be lost with it.

use std::net::SocketAddr;
use std::time::Instant;

use super::MAX_ADDRESSES;
use crate::peers::score::Standing;
use crate::source::Source;

/// How much would be lost with a node, the least first; also in the store's file, as the numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
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
    pub(super) fn rank(&self) -> (std::cmp::Reverse<Option<u64>>, Source) {
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
    pub touched: u64,
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

    /// Seconds for which it is still banned at `unix`; a peer protected by the operator is never banned.
    pub fn banned_for(&self, unix: u64) -> Option<u64> {
        if self.protected { None } else { self.standing.banned_for(unix) }
    }

    /// How much would be lost with it.
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
