//! The routing table: a bucket of contacts for each number of leading bits shared with this node's key. It remembers
//! which contacts answered and finds the closest; it does not decide which to call.

use std::net::IpAddr;
use std::sync::Arc;

use super::bucket::{Bucket, Entry, Place};
use super::contact::{Contact, Records};
use super::diversity::{Caps, Crowd};
use super::key::{Distance, Key};
use super::limits::{FORGET_AFTER, K, PER_BUCKET, PER_TABLE, SPARSE_BUCKET};
use super::time::Moment;
use crate::address::AddressRecord;
use crate::now::Now;

/// The routing table. `buckets[i]` holds contacts that share exactly `i` leading bits with `own`.
pub(super) struct Table {
    own: Key,
    buckets: Vec<Bucket>,
    crowd: Crowd,
    diverse: bool,
}

/// What an answer of a node changed in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was a contact already.
    Known,
    /// It is a new contact.
    Entered,
    /// Its bucket is full; it is a spare now.
    Spare,
    /// Too many contacts of its subnet are in the table.
    Crowded,
    /// It answered over a relay, so its subnet is unverified.
    Nowhere,
}

impl Table {
    /// An empty table of the node with the key `own`; `diverse` turns on the limits per subnet.
    pub(super) fn new(own: Key, diverse: bool) -> Self {
        Self { own, buckets: Vec::new(), crowd: Crowd::default(), diverse }
    }

    /// This node's key.
    pub(super) fn own(&self) -> &Key {
        &self.own
    }

    fn index(&self, key: &Key) -> usize {
        self.own.distance(key).shared_bits().min(255)
    }

    fn bucket(&mut self, key: &Key) -> &mut Bucket {
        let index = self.index(key);
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, Bucket::default);
        }
        &mut self.buckets[index]
    }

    /// The contact with this key.
    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        let bucket = self.buckets.get(self.index(key))?;
        bucket.position(key).map(|at| &bucket.entries[at])
    }

    /// Contacts in all buckets.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Contacts in the bucket of `bits` shared bits whose last call did not fail.
    pub(super) fn sound(&self, bits: usize) -> usize {
        self.buckets.get(bits).map_or(0, |bucket| bucket.entries.iter().filter(|entry| entry.failures == 0).count())
    }

    /// Whether a node is worth a call of its own: it may be one of the `K` closest neighbours, or its bucket is sparse.
    /// Other places fill with nodes that lookups ask anyway, which makes a join cheaper.
    pub(super) fn is_wanted(&self, key: &Key) -> bool {
        let index = self.index(key);
        let closer: usize = self.buckets.iter().skip(index + 1).map(|bucket| bucket.entries.len()).sum();
        closer < K || self.sound(index) < SPARSE_BUCKET
    }

    /// Whether this node would enter the table if it answered from one of its addresses.
    pub(super) fn would_take(&self, contact: &Contact) -> bool {
        let bucket = self.buckets.get(self.index(&contact.key));
        let place = bucket.map_or(Some(Place::Free), Bucket::place);
        let admitted =
            |place| contact.record.addresses.iter().any(|address| self.is_admitted(&contact.key, address.ip(), place));
        contact.key != self.own && place.is_some_and(admitted)
    }

    /// Whether the limits per subnet admit a node that answers from `ip`, once the contact that it would replace has
    /// left.
    fn is_admitted(&self, key: &Key, ip: IpAddr, place: Place) -> bool {
        if !self.diverse {
            return true;
        }
        let all = || self.buckets.iter().flat_map(|bucket| &bucket.entries).map(|entry| entry.ip);
        if !self.crowd.admits_at(ip, PER_TABLE, all) {
            return false;
        }
        if self.crowd.admits_at(ip, ALONE, all) {
            return true; // nobody of its subnet is anywhere, so not in the bucket either
        }
        let Some(bucket) = self.buckets.get(self.index(key)) else { return true };
        let stays = |at: usize| place != Place::Of(at);
        let members = || {
            let entries = bucket.entries.iter().enumerate().filter(|(at, _)| stays(*at));
            entries.map(|(_, entry)| entry.ip)
        };
        let mut crowd = Crowd::default();
        members().for_each(|ip| crowd.add_at(ip));
        crowd.admits_at(ip, PER_BUCKET, members)
    }

    /// Notes that `contact` answered a call to its verified record from `ip`. That address counts for the limits,
    /// whatever its record claims; `None` if the connection is relayed.
    pub(super) fn answered(&mut self, contact: &Contact, ip: Option<IpAddr>, at: Moment) -> Seen {
        if let Some(known) = self.bucket(&contact.key).position(&contact.key) {
            return self.answered_again(contact, known, ip, at);
        }
        let Some(place) = self.bucket(&contact.key).place() else {
            self.bucket(&contact.key).keep_spare(Arc::clone(&contact.record));
            return Seen::Spare;
        };
        let Some(ip) = ip else { return Seen::Nowhere };
        if contact.key == self.own || !self.is_admitted(&contact.key, ip, place) {
            return Seen::Crowded;
        }
        if let Place::Of(index) = place {
            let failed = self.bucket(&contact.key).entries.remove(index);
            self.crowd.remove_at(failed.ip);
        }
        self.crowd.add_at(ip);
        let records = Records::new(Arc::clone(&contact.record));
        let entry = Entry { key: contact.key, records, ip, seen: at, failures: 0, checking: false };
        let bucket = self.bucket(&contact.key);
        bucket.spares.retain(|spare| spare.node != contact.record.node);
        bucket.entries.push(entry);
        Seen::Entered
    }

    /// As [`Self::answered`], for a known contact. It is removed if it moved to a subnet that has too many.
    fn answered_again(&mut self, contact: &Contact, known: usize, ip: Option<IpAddr>, at: Moment) -> Seen {
        let mut entry = self.bucket(&contact.key).entries.remove(known);
        entry.seen = at;
        entry.failures = 0;
        entry.checking = false;
        if let Some(ip) = ip.filter(|ip| *ip != entry.ip) {
            self.crowd.remove_at(entry.ip);
            if !self.is_admitted(&contact.key, ip, Place::Free) {
                return Seen::Crowded;
            }
            self.crowd.add_at(ip);
            entry.ip = ip;
        }
        self.bucket(&contact.key).entries.push(entry);
        self.update(contact);
        Seen::Known
    }

    /// Takes over a newer, verified record of a contact.
    pub(super) fn update(&mut self, contact: &Contact) {
        let bucket = self.bucket(&contact.key);
        if let Some(at) = bucket.position(&contact.key)
            && !bucket.entries[at].records.cover(&contact.record)
        {
            bucket.entries[at].records.set(Arc::clone(&contact.record));
        }
    }

    /// Notes that a call to `key` failed. Returns a spare of its bucket, which is to be called and may replace it.
    /// Without a replacement, the contact is removed after [`FORGET_AFTER`] failures in a row.
    pub(super) fn failed(&mut self, key: &Key) -> Option<Arc<AddressRecord>> {
        let bucket = self.bucket(key);
        let at = bucket.position(key)?;
        let entry = &mut bucket.entries[at];
        entry.failures = entry.failures.saturating_add(1);
        entry.checking = false;
        let spare = bucket.spares.pop();
        if bucket.entries[at].failures >= FORGET_AFTER {
            self.remove(key);
        }
        spare
    }

    /// Removes a contact that does not serve or lied.
    pub(super) fn remove(&mut self, key: &Key) {
        let bucket = self.bucket(key);
        if let Some(at) = bucket.position(key) {
            let entry = bucket.entries.remove(at);
            self.crowd.remove_at(entry.ip);
        }
    }

    /// Keeps a node as a spare of its bucket. If the bucket is full, returns its least recently seen contact to be
    /// checked, if that has been silent for over `silent` seconds.
    pub(super) fn keep_spare(&mut self, contact: &Contact, at: Moment, silent: u32) -> Option<Contact> {
        let bucket = self.bucket(&contact.key);
        bucket.keep_spare(Arc::clone(&contact.record));
        let oldest = bucket.oldest().filter(|entry| bucket.entries.len() >= K && at.since(entry.seen) > silent)?;
        let record = oldest.records.to_dial(oldest.failures)?;
        Some(Contact { key: oldest.key, record: Arc::clone(record) })
    }

    /// Takes a spare of a bucket with a free place; the search starts at bucket `turn`.
    pub(super) fn take_spare(&mut self, turn: usize) -> Option<Arc<AddressRecord>> {
        let buckets = self.buckets.len();
        let mut order = (0..buckets).map(|at| (at + turn) % buckets);
        let at = order.find(|at| self.buckets[*at].entries.len() < K && !self.buckets[*at].spares.is_empty())?;
        self.buckets[at].spares.pop()
    }

    /// The contact that has been silent for longest, if for over `silent` seconds; without those being checked.
    pub(super) fn stalest_contact(&self, at: Moment, silent: u32) -> Option<Contact> {
        let oldest = self.buckets.iter().filter_map(Bucket::oldest).min_by_key(|entry| entry.seen)?;
        let record = oldest.records.to_dial(oldest.failures)?;
        (at.since(oldest.seen) > silent).then(|| Contact { key: oldest.key, record: Arc::clone(record) })
    }

    /// Marks a contact as being checked, so that it is not checked twice at once.
    pub(super) fn checking(&mut self, key: &Key) {
        let bucket = self.bucket(key);
        if let Some(at) = bucket.position(key) {
            bucket.entries[at].checking = true;
        }
    }

    /// Takes back [`Self::checking`]: the check showed nothing about the contact.
    pub(super) fn unchecked(&mut self, key: &Key) {
        let bucket = self.bucket(key);
        if let Some(place) = bucket.position(key) {
            bucket.entries[place].checking = false;
        }
    }

    /// Notes that this node looks up `target`.
    pub(super) fn note_lookup(&mut self, target: &Key, at: Moment) {
        let index = self.index(target);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.last_lookup = at;
        }
    }

    /// The bucket whose last lookup is the oldest, if it is over `after` seconds old.
    pub(super) fn stalest_bucket(&self, at: Moment, after: u32) -> Option<usize> {
        let (index, bucket) = self.buckets.iter().enumerate().min_by_key(|(_, bucket)| bucket.last_lookup)?;
        (at.since(bucket.last_lookup) > after).then_some(index)
    }

    /// One more than the most leading bits that a contact shares with this node.
    pub(super) fn depth(&self) -> usize {
        self.buckets.iter().rposition(|bucket| !bucket.entries.is_empty()).map_or(0, |index| index + 1)
    }

    /// The `count` contacts closest to `target` for which `wanted` holds, closest first.
    ///
    /// Contacts in the bucket of `target` share more bits with it than any others; those in later buckets share as many
    /// as this node does; in earlier buckets the number falls from one to the next. So only the groups that are needed
    /// are sorted.
    pub(super) fn closest(&self, target: &Key, count: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        let middle = self.index(target);
        let mut found: Vec<(Distance, &Entry)> = Vec::with_capacity(2 * K);
        let mut list: Vec<&Entry> = Vec::with_capacity(count);
        let groups = std::iter::once(middle..middle + 1)
            .chain(std::iter::once(middle + 1..self.buckets.len()))
            .chain((0..middle).rev().map(|index| index..index + 1));
        for group in groups {
            let Some(buckets) =
                self.buckets.get(group.start.min(self.buckets.len())..group.end.min(self.buckets.len()))
            else {
                continue;
            };
            found.clear();
            for entry in buckets.iter().flat_map(|bucket| &bucket.entries) {
                if wanted(entry) {
                    found.push((entry.key.distance(target), entry));
                }
            }
            found.sort_unstable_by_key(|(distance, _)| *distance);
            list.extend(found.iter().take(count - list.len()).map(|(_, entry)| *entry));
            if list.len() == count {
                break;
            }
        }
        list
    }

    /// Contacts closer to `key` than this node whose last call did not fail; counts up to `most`.
    pub(super) fn closer(&self, key: &Key, most: usize) -> usize {
        let (own, index) = (self.own.distance(key), self.index(key));
        let near = self.buckets.get(index..).unwrap_or_default();
        let entries = near.iter().flat_map(|bucket| &bucket.entries);
        entries.filter(|entry| entry.failures == 0 && entry.key.distance(key) < own).take(most).count()
    }

    /// The usual distance from one node to the next, as a share of the key space: the distance of this node's `K`-th
    /// neighbour, divided by `K`. The n-th node closest to any key is about n times as far. `None` with fewer than `K`
    /// contacts.
    pub(super) fn spacing(&self) -> Option<f64> {
        let neighbours = self.closest(&self.own, K, |entry| entry.failures == 0);
        let last = neighbours.last().filter(|_| neighbours.len() == K)?;
        Some(self.own.distance(&last.key).fraction() / K as f64)
    }

    /// Removes expired spares and records, and contacts without any record left.
    pub(super) fn expire(&mut self, now: Now) {
        let crowd = &mut self.crowd;
        for bucket in &mut self.buckets {
            bucket.spares.retain(|spare| !spare.is_expired(now));
            bucket.entries.retain_mut(|entry| {
                entry.records.retain(|record| !record.is_expired(now));
                let stays = entry.records.iter().next().is_some();
                if !stays {
                    crowd.remove_at(entry.ip);
                }
                stays
            });
        }
    }

    /// All contacts, bucket by bucket.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// Buckets with at least one contact.
    pub(super) fn used_buckets(&self) -> usize {
        self.buckets.iter().filter(|bucket| !bucket.entries.is_empty()).count()
    }

    /// Bytes of memory, with the address records.
    pub(super) fn bytes(&self) -> usize {
        let buckets: usize = self.buckets.iter().map(Bucket::bytes).sum();
        let records: usize = self.entries().map(|entry| entry.records.bytes()).sum();
        let spares = self.buckets.iter().flat_map(|bucket| &bucket.spares);
        let spares: usize = spares.map(|spare| super::record::address_bytes(spare)).sum();
        size_of::<Self>() + buckets + records + spares + self.crowd.bytes()
    }
}

/// Admits a node only if the table has none of its subnet.
const ALONE: Caps = Caps { per_ip: 0, per_subnet: 1 };
