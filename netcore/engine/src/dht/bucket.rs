//! A bucket of the routing table: the contacts that share exactly as many leading bits with this node's key.

use std::net::IpAddr;
use std::sync::Arc;

use super::contact::Records;
use super::key::Key;
use super::limits::{K, MAX_SPARES};
use super::time::Moment;
use crate::address::AddressRecord;

/// A contact in the routing table: it has answered at least once.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) records: Records,
    /// The address that it last answered from.
    pub(super) ip: IpAddr,
    /// When it last answered a call.
    pub(super) seen: Moment,
    /// Calls that failed since then.
    pub(super) failures: u8,
    /// Whether a call is in flight that only checks whether it answers.
    pub(super) checking: bool,
}

/// Contacts, the least recently seen first, and spares that take the place of one that failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) entries: Vec<Entry>,
    /// Oldest first; at most [`MAX_SPARES`].
    pub(super) spares: Vec<Arc<AddressRecord>>,
    /// When this node last looked up a key in the bucket's range.
    pub(super) last_lookup: Moment,
}

impl Bucket {
    pub(super) fn position(&self, key: &Key) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == *key)
    }

    /// The place of the next contact: a free one, or that of the contact that failed most often.
    pub(super) fn place(&self) -> Option<Place> {
        if self.entries.len() < K {
            return Some(Place::Free);
        }
        let (at, worst) = self.entries.iter().enumerate().max_by_key(|(_, entry)| entry.failures)?;
        (worst.failures > 0).then_some(Place::Of(at))
    }

    /// The contact to check before another takes its place: the least recently seen that is not being checked.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| !entry.checking)
    }

    /// Keeps a node as a spare until a place gets free; at the limit the oldest spare is removed.
    pub(super) fn keep_spare(&mut self, record: Arc<AddressRecord>) {
        self.spares.retain(|spare| spare.node != record.node);
        if self.spares.len() == MAX_SPARES {
            self.spares.remove(0);
        }
        self.spares.push(record);
    }

    /// Bytes of memory, without the records.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.spares.capacity() * size_of::<Arc<AddressRecord>>()
    }
}

/// Where a new contact enters a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The bucket has a free place.
    Free,
    /// The contact at this index has failed and is replaced.
    Of(usize),
}
