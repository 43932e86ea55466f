//! This node's own records and provided keys, and when each is republished. The one that has been due for longest comes
//! first, and each failure doubles the wait: nothing keeps the others from their turn.

use std::collections::{BTreeMap, BTreeSet};

use super::key::Key;
use super::limits::{MAX_OWN_PROVIDED, MAX_OWN_RECORDS, PROVIDE_EVERY, RETRY, RETRY_MOST};
use super::record::Record;
use super::time::Moment;

#[derive(Debug)]
struct Put {
    record: Record,
    until: Moment,
}

/// Records to republish and keys to provide.
#[derive(Debug, Default)]
pub(super) struct Own {
    records: BTreeMap<Key, Put>,
    puts: Agenda,
    provided: Agenda,
}

/// What is to be republished now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A record, and the moment it expires.
    Record(Record, Moment),
    /// A key to provide again.
    Provided(Key),
}

impl Own {
    /// The record of a key, unless it has expired.
    pub(super) fn record(&self, key: &Key, at: Moment) -> Option<&Record> {
        self.records.get(key).filter(|put| put.until > at).map(|put| &put.record)
    }

    /// Keeps a record until `until` and republishes it from `due` on. A newer one under its key stays. `false` when
    /// there is no room.
    pub(super) fn keep_record(&mut self, record: &Record, at: Moment, until: Moment, due: Moment) -> bool {
        let key = record.key();
        if let Some(known) = self.records.get(&key)
            && known.record.supersedes(record)
        {
            return true;
        }
        if self.records.len() >= MAX_OWN_RECORDS {
            self.records.retain(|_, put| put.until > at);
            self.puts.retain(|key| self.records.contains_key(key));
        }
        let fits = self.records.contains_key(&key) || self.records.len() < MAX_OWN_RECORDS;
        if fits {
            self.records.insert(key, Put { record: record.clone(), until });
            self.puts.set(key, due);
        }
        fits
    }

    /// Keeps a key to provide again; `false` when there is no room.
    pub(super) fn keep_provided(&mut self, key: Key, at: Moment) -> bool {
        let fits = self.provided.has(&key) || self.provided.len() < MAX_OWN_PROVIDED;
        if fits {
            self.provided.set(key, Moment(at.0.saturating_add(PROVIDE_EVERY)));
        }
        fits
    }

    /// Whether this node provides a key.
    pub(super) fn provides(&self, key: &Key) -> bool {
        self.provided.has(key)
    }

    /// Ends republishing a record.
    pub(super) fn forget_record(&mut self, key: &Key) {
        self.records.remove(key);
        self.puts.remove(key);
    }

    /// Ends providing a key.
    pub(super) fn forget_provided(&mut self, key: &Key) {
        self.provided.remove(key);
    }

    /// Makes all provided keys due: this node can be dialed from now on.
    pub(super) fn provide_at_once(&mut self) {
        self.provided.all_at(Moment(0));
    }

    /// A record was stored, or nobody stored it.
    pub(super) fn was_put(&mut self, key: &Key, kept: bool, at: Moment) {
        if kept { self.puts.succeeded(key) } else { self.puts.failed(key, at) }
    }

    /// A key was provided, or nobody listed it.
    pub(super) fn was_provided(&mut self, key: &Key, kept: bool, at: Moment) {
        if kept {
            self.provided.succeeded(key);
            self.provided.later(key, Moment(at.0.saturating_add(PROVIDE_EVERY)));
        } else {
            self.provided.failed(key, at);
        }
    }

    /// Whether [`Self::due`] returns something.
    pub(super) fn is_due(&self, at: Moment, serves: bool) -> bool {
        self.puts.first(at).is_some() || serves && self.provided.first(at).is_some()
    }

    /// Takes what has been due for longest, records and, if this node `serves`, keys. A record is due again at `next`,
    /// a key after [`PROVIDE_EVERY`] or as its outcome says.
    pub(super) fn due(&mut self, at: Moment, next: Moment, serves: bool) -> Option<Due> {
        loop {
            let record = self.puts.first(at);
            let provided = self.provided.first(at).filter(|_| serves);
            let (_, key) = match (record, provided) {
                (None, None) => return None,
                (record, Some((since, key))) if record.is_none_or(|(earlier, _)| since < earlier) => {
                    self.provided.later(&key, Moment(at.0.saturating_add(PROVIDE_EVERY)));
                    return Some(Due::Provided(key));
                }
                (Some(record), _) => record,
                (None, Some(_)) => return None, // the case before covers it
            };
            if let Some(put) = self.records.get(&key).filter(|put| put.until > at) {
                self.puts.later(&key, next);
                return Some(Due::Record(put.record.clone(), put.until));
            }
            self.records.remove(&key);
            self.puts.remove(&key);
        }
    }
}

/// Keys sorted by the moment they are due.
#[derive(Debug, Default)]
struct Agenda {
    /// When each is due, and its failures in a row.
    keys: BTreeMap<Key, (Moment, u8)>,
    order: BTreeSet<(Moment, Key)>,
}

impl Agenda {
    fn len(&self) -> usize {
        self.keys.len()
    }

    fn has(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
    }

    /// The key that has been due for longest.
    fn first(&self, at: Moment) -> Option<(Moment, Key)> {
        self.order.first().filter(|(due, _)| *due <= at).copied()
    }

    /// Adds a key, or resets a known one.
    fn set(&mut self, key: Key, due: Moment) {
        self.remove(&key);
        self.keys.insert(key, (due, 0));
        self.order.insert((due, key));
    }

    /// Moves a known key to another moment.
    fn later(&mut self, key: &Key, due: Moment) {
        if let Some((old, _)) = self.keys.get_mut(key) {
            self.order.remove(&(*old, *key));
            *old = due;
            self.order.insert((due, *key));
        }
    }

    fn succeeded(&mut self, key: &Key) {
        if let Some((_, failures)) = self.keys.get_mut(key) {
            *failures = 0;
        }
    }

    /// Schedules a retry; the wait doubles after each failure.
    fn failed(&mut self, key: &Key, at: Moment) {
        let Some((_, failures)) = self.keys.get_mut(key) else { return };
        let pause = RETRY.saturating_mul(1 << (*failures).min(16)).min(RETRY_MOST);
        *failures = failures.saturating_add(1);
        self.later(key, Moment(at.0.saturating_add(pause)));
    }

    fn remove(&mut self, key: &Key) {
        if let Some((due, _)) = self.keys.remove(key) {
            self.order.remove(&(due, *key));
        }
    }

    fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.keys.retain(|key, _| keep(key));
        self.order.retain(|(_, key)| keep(key));
    }

    fn all_at(&mut self, due: Moment) {
        self.order = self.keys.keys().map(|key| (due, *key)).collect();
        self.keys.values_mut().for_each(|entry| *entry = (due, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_ipc_protocol::gateway::Payload;

    const NEVER: Moment = Moment(u32::MAX);

    fn record(number: u8) -> Record {
        let name = "test/own".parse().unwrap();
        Record::Immutable { name, value: Payload(vec![number].into()) }
    }

    #[test]
    fn what_was_due_first_comes_first_whatever_it_is() {
        let mut own = Own::default();
        own.keep_record(&record(1), Moment(0), NEVER, Moment(30));
        own.keep_record(&record(2), Moment(0), NEVER, Moment(10));
        own.keep_record(&record(3), Moment(0), Moment(40), Moment(5));
        own.keep_provided(Key([9; 32]), Moment(0));
        own.provided.later(&Key([9; 32]), Moment(20));
        assert_eq!(own.due(Moment(4), NEVER, true), None);
        let mut next = |serves| own.due(Moment(50), NEVER, serves);
        assert_eq!(next(true), Some(Due::Record(record(2), NEVER)), "the third has ended");
        assert_eq!(next(true), Some(Due::Provided(Key([9; 32]))));
        assert_eq!(next(true), Some(Due::Record(record(1), NEVER)));
        assert_eq!(next(true), None);
        assert_eq!(own.record(&record(3).key(), Moment(0)), None, "it is forgotten");
        own.provide_at_once();
        assert_eq!(own.due(Moment(50), NEVER, false), None, "nobody lists a node that serves nobody");
    }

    #[test]
    fn what_fails_waits_twice_as_long_each_time_and_lets_others_pass() {
        let mut own = Own::default();
        own.keep_record(&record(1), Moment(0), NEVER, Moment(0));
        own.keep_record(&record(2), Moment(0), NEVER, Moment(1));
        let key = record(1).key();
        let mut at = Moment(1);
        let mut pauses = Vec::new();
        assert_eq!(own.due(at, NEVER, true), Some(Due::Record(record(1), NEVER)));
        own.was_put(&key, false, at);
        assert_eq!(own.due(at, NEVER, true), Some(Due::Record(record(2), NEVER)), "the failed one does not come first");
        for _ in 0..8 {
            let failed = at;
            while own.due(at, NEVER, true).is_none() {
                at.0 += 1;
            }
            pauses.push(at.since(failed));
            own.was_put(&key, false, at);
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, RETRY_MOST, RETRY_MOST]);
        own.was_put(&key, true, at);
        own.was_put(&key, false, at);
        assert_eq!(own.puts.keys[&key].0, Moment(at.0 + RETRY), "once taken it begins anew");
    }

    #[test]
    fn nothing_is_left_of_what_ended() {
        let mut own = Own::default();
        for number in 0..=255 {
            own.keep_record(&record(number), Moment(0), Moment(10), Moment(u32::from(number)));
        }
        assert_eq!(own.due(Moment(300), NEVER, true), None);
        assert!(own.records.is_empty() && own.puts.len() == 0 && own.puts.order.is_empty());
        own.keep_provided(Key([1; 32]), Moment(0));
        own.forget_provided(&Key([1; 32]));
        assert!(own.provided.len() == 0 && own.provided.order.is_empty());
    }
}
