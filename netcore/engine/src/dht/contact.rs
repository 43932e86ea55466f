//! A contact: a node's key and the address records it signed.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;

use super::key::Key;
use super::record::address_bytes;
use crate::address::{AddressRecord, Zone};

/// A node to call: its key, hashed once, and the address record to dial.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub(super) key: Key,
    pub(super) record: Arc<AddressRecord>,
}

impl Contact {
    pub(super) fn new(record: Arc<AddressRecord>) -> Self {
        Self { key: Key::of_node(record.node), record }
    }

    pub(super) fn node(&self) -> NodeId {
        self.record.node
    }
}

/// All zones in the order of their numbers: the most local first.
const ZONES: [Zone; 3] = [Zone::Loopback, Zone::Private, Zone::Public];

/// The address records of one node: the newest of each zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Records([Option<Arc<AddressRecord>>; 3]);

impl Records {
    pub(super) fn new(record: Arc<AddressRecord>) -> Self {
        let mut records = Self::default();
        records.set(record);
        records
    }

    /// The record of a zone.
    pub(super) fn of(&self, zone: Zone) -> Option<&Arc<AddressRecord>> {
        self.0[zone as usize].as_ref()
    }

    /// Replaces the record of the same zone.
    pub(super) fn set(&mut self, record: Arc<AddressRecord>) {
        let zone = record.zone();
        self.0[zone as usize] = Some(record);
    }

    /// Whether `record` is no newer than the one known of its zone.
    pub(super) fn cover(&self, record: &AddressRecord) -> bool {
        self.of(record.zone()).is_some_and(|known| known.sequence >= record.sequence)
    }

    /// The most local record that may be disclosed to a peer in `zone`.
    pub(super) fn told_to(&self, zone: Zone) -> Option<&Arc<AddressRecord>> {
        let told = ZONES.iter().filter(|own| own.is_told_to(zone));
        told.filter_map(|own| self.of(*own)).next()
    }

    /// The record to dial: the most local first, and after each failed call the next zone's.
    pub(super) fn to_dial(&self, failures: u8) -> Option<&Arc<AddressRecord>> {
        let count = self.iter().count().max(1);
        self.iter().nth(usize::from(failures) % count)
    }

    /// All records, the most local first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<AddressRecord>> {
        self.0.iter().flatten()
    }

    /// Removes the records for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&AddressRecord) -> bool) {
        for slot in &mut self.0 {
            slot.take_if(|record| !keep(record));
        }
    }

    /// Bytes of memory behind the pointers.
    pub(super) fn bytes(&self) -> usize {
        self.iter().map(|record| address_bytes(record)).sum()
    }
}
