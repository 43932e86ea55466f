//! What this node itself has in the table and puts there again: records of its plugins, and keys that it provides.

use std::collections::BTreeMap;

use super::bucket::Moment;
use super::key::Key;
use super::limits::{MAX_OWN_PROVIDED, MAX_OWN_RECORDS, PROVIDE_EVERY, RETRY};
use super::record::Record;

#[derive(Debug)]
struct Put {
    record: Record,
    until: Moment,
    due: Moment,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Own {
    records: BTreeMap<Key, Put>,
    provided: BTreeMap<Key, Moment>,
}

impl Own {
    /// The record of a key.
    pub(super) fn record(&self, key: &Key, at: Moment) -> Option<&Record> {
        self.records.get(key).filter(|put| put.until > at).map(|put| &put.record)
    }

    /// Keeps a record to be put again, from `due` until `until`, unless a newer one is there. `false` when there is no room.
    pub(super) fn keep_record(&mut self, record: &Record, at: Moment, until: Moment, due: Moment) -> bool {
        let key = record.key();
        if let Some(known) = self.records.get(&key)
            && known.record.supersedes(record)
        {
            return true;
        }
        if self.records.len() >= MAX_OWN_RECORDS {
            self.records.retain(|_, put| put.until > at);
        }
        let fits = self.records.contains_key(&key) || self.records.len() < MAX_OWN_RECORDS;
        if fits {
            self.records.insert(key, Put { record: record.clone(), until, due });
        }
        fits
    }

    /// Provides a key from now on. `false` when there is no room.
    pub(super) fn keep_provided(&mut self, key: Key, at: Moment) -> bool {
        let fits = self.provided.contains_key(&key) || self.provided.len() < MAX_OWN_PROVIDED;
        if fits {
            self.provided.insert(key, Moment(at.0.saturating_add(PROVIDE_EVERY)));
        }
        fits
    }

    /// Does not provide a key any more.
    pub(super) fn forget_provided(&mut self, key: &Key) {
        self.provided.remove(key);
    }

    /// Everything it provides is due: this node can be dialed from now on.
    pub(super) fn provide_at_once(&mut self) {
        self.provided.values_mut().for_each(|due| *due = Moment(0));
    }

    /// A record was put, or nobody took it.
    pub(super) fn was_put(&mut self, key: &Key, kept: bool, at: Moment) {
        if let Some(put) = self.records.get_mut(key)
            && !kept
        {
            put.due = Moment(at.0.saturating_add(RETRY));
        }
    }

    /// A key was provided, or nobody listed it.
    pub(super) fn was_provided(&mut self, key: &Key, kept: bool, at: Moment) {
        if let Some(due) = self.provided.get_mut(key) {
            *due = Moment(at.0.saturating_add(if kept { PROVIDE_EVERY } else { RETRY }));
        }
    }

    /// A record that is to be put again, and until when; it is due again at `next`.
    pub(super) fn due_record(&mut self, at: Moment, next: Moment) -> Option<(Record, Moment)> {
        self.records.retain(|_, put| put.until > at);
        let put = self.records.values_mut().find(|put| put.due <= at)?;
        put.due = next;
        Some((put.record.clone(), put.until))
    }

    /// A key that is to be provided again; it is due again when that has ended.
    pub(super) fn due_provided(&mut self, at: Moment) -> Option<Key> {
        let (key, due) = self.provided.iter_mut().find(|(_, due)| **due <= at)?;
        *due = Moment(at.0.saturating_add(PROVIDE_EVERY));
        Some(*key)
    }
}
