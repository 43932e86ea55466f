//! Records kept for others: under their key, until they end, each charged to who brought it. When there is no room the ones
//! furthest from this node make some: they are looked for elsewhere.

use std::collections::BTreeMap;

use super::bucket::Moment;
use super::key::{Distance, Key};
use super::limits::{MAX_RECORD_BYTES, MAX_RECORDS, NODE_BYTES, NODE_RECORDS, SUBNET_BYTES, SUBNET_RECORDS};
use super::quota::{Amount, Owner, Quota, Usage};
use super::record::Record;
use super::wire::Refusal;
use crate::address::Zone;

/// A record and its circumstances.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    /// When it is dropped.
    pub(super) until: Moment,
    /// When this node puts it again for others, unless somebody else did.
    pub(super) again: Moment,
    owner: Option<Owner>,
    bytes: usize,
}

/// All of them, by distance from this node; a node's address records of several zones are under one key.
#[derive(Debug)]
pub(super) struct Store {
    own: Key,
    items: BTreeMap<(Distance, u8), Item>,
    usage: Usage,
    guarded: bool,
    /// Dropped because others needed the room.
    pub(super) evicted: u64,
}

/// A record, and what keeping it is about.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: Key,
    pub(super) record: Record,
    /// Who is charged; `None` for this node.
    pub(super) owner: Option<Owner>,
    pub(super) until: Moment,
    pub(super) again: Moment,
}

fn slot(record: &Record) -> u8 {
    if let Record::Address(address) = record { address.zone() as u8 } else { 0 }
}

impl Store {
    /// An empty one of the node at `own`. `guarded` turns the quotas of each on; the total always holds.
    pub(super) fn new(own: Key, guarded: bool) -> Self {
        let quota = Quota {
            node: Amount { count: NODE_RECORDS, bytes: NODE_BYTES },
            subnet: Amount { count: SUBNET_RECORDS, bytes: SUBNET_BYTES },
            total: Amount { count: MAX_RECORDS, bytes: MAX_RECORD_BYTES },
        };
        Self { own, items: BTreeMap::new(), usage: Usage::new(quota), guarded, evicted: 0 }
    }

    /// Why an offer would not be taken, before anybody looks at its signature. `Ok(false)`: it is here already, and only its
    /// times would change.
    pub(super) fn would_take(&self, offer: &Offer) -> Result<bool, Refusal> {
        let distance = self.own.distance(&offer.key);
        let bytes = offer.record.bytes();
        if let Some(known) = self.items.get(&(distance, slot(&offer.record))) {
            return match known.record == offer.record {
                true => Ok(false),
                false if offer.record.supersedes(&known.record) => Ok(true),
                false => Err(Refusal::Superseded),
            };
        }
        if self.guarded && !self.usage.may_add(offer.owner.as_ref(), bytes) {
            return Err(Refusal::Quota);
        }
        let furthest = self.items.last_key_value().map(|((distance, _), _)| *distance);
        if !self.usage.has_room(bytes) && furthest.is_none_or(|furthest| furthest <= distance) {
            return Err(Refusal::Full);
        }
        Ok(true)
    }

    /// Keeps a record that is right and that [`Self::would_take`] takes.
    pub(super) fn put(&mut self, offer: Offer) {
        let at = (self.own.distance(&offer.key), slot(&offer.record));
        let bytes = offer.record.bytes();
        if let Some(known) = self.items.get_mut(&at)
            && known.record == offer.record
        {
            known.until = known.until.max(offer.until);
            known.again = offer.again;
            return;
        }
        let mut owner = offer.owner;
        if let Some(old) = self.items.remove(&at) {
            // A newer one is charged like the first: otherwise whoever passes it on pays for its growth.
            self.usage.remove(old.owner.as_ref(), old.bytes);
            owner = old.owner.or(owner);
        }
        self.usage.add(owner.as_ref(), bytes);
        let Offer { record, until, again, .. } = offer;
        self.items.insert(at, Item { record, until, again, owner, bytes });
        while !self.usage.is_within() {
            let Some((_, dropped)) = self.items.pop_last() else { break };
            self.usage.remove(dropped.owner.as_ref(), dropped.bytes);
            self.evicted += 1;
        }
    }

    /// The record under a key, for an asker in `zone`; of a node's addresses the most local it may be told of.
    pub(super) fn find(&self, key: &Key, zone: Zone, at: Moment) -> Option<&Item> {
        let distance = self.own.distance(key);
        let mut items = self.items.range((distance, 0)..=(distance, u8::MAX)).map(|(_, item)| item);
        items.find(|item| {
            let told = if let Record::Address(address) = &item.record { address.zone().is_told_to(zone) } else { true };
            told && item.until > at
        })
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, at: Moment) {
        let usage = &mut self.usage;
        self.items.retain(|_, item| {
            let stays = item.until > at;
            if !stays {
                usage.remove(item.owner.as_ref(), item.bytes);
            }
            stays
        });
    }

    /// Up to `count` records that are to be put again for others; each is due again at `next`.
    pub(super) fn due(&mut self, at: Moment, next: Moment, count: usize) -> Vec<(Record, Moment)> {
        let due = self.items.values_mut().filter(|item| item.again <= at).take(count);
        due.map(|item| {
            item.again = next;
            (item.record.clone(), item.until)
        })
        .collect()
    }

    /// All of them, with their keys.
    pub(super) fn items(&self) -> impl Iterator<Item = (Key, &Item)> {
        self.items.iter().map(|((distance, _), item)| (self.own.at(distance), item))
    }

    /// How many, and their bytes.
    pub(super) fn total(&self) -> Amount {
        self.usage.total()
    }
}
