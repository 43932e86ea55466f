//! One bucket: the contacts that share just so many first bits with this node's key.

use std::net::IpAddr;
use std::sync::Arc;

use super::contact::Records;
use super::key::Key;
use super::limits::{K, MAX_SPARES};
use super::time::Moment;
use crate::address::AddressRecord;

/// A contact of the table: it answered at least once.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) records: Records,
    /// Where it last answered from.
    pub(super) ip: IpAddr,
    /// When it last answered.
    pub(super) seen: Moment,
    /// Calls that failed since.
    pub(super) failures: u8,
    /// Whether a call is on its way whose only purpose is to see whether it is there.
    pub(super) checking: bool,
}

/// Its contacts, the least recently seen first, and those that would take the place of one that failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) entries: Vec<Entry>,
    /// Oldest first; at most [`MAX_SPARES`].
    pub(super) spares: Vec<Arc<AddressRecord>>,
    /// When somebody last looked for a key in its range.
    pub(super) looked: Moment,
}

impl Bucket {
    pub(super) fn position(&self, key: &Key) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == *key)
    }

    /// Where the next contact would go: a free place, or that of the one that failed most often.
    pub(super) fn place(&self) -> Option<Place> {
        if self.entries.len() < K {
            return Some(Place::Free);
        }
        let (at, worst) = self.entries.iter().enumerate().max_by_key(|(_, entry)| entry.failures)?;
        (worst.failures > 0).then_some(Place::Of(at))
    }

    /// The contact to check before one that failed is thrown out for another: the least recently seen.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| !entry.checking)
    }

    /// Keeps a node in mind for when a place gets free; the one kept longest makes room.
    pub(super) fn keep_spare(&mut self, record: Arc<AddressRecord>) {
        self.spares.retain(|spare| spare.node != record.node);
        if self.spares.len() == MAX_SPARES {
            self.spares.remove(0);
        }
        self.spares.push(record);
    }

    /// Memory, bytes, without the records'.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.spares.capacity() * size_of::<Arc<AddressRecord>>()
    }
}

/// Where a new contact goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There is room.
    Free,
    /// In the place of this one, which failed.
    Of(usize),
}
