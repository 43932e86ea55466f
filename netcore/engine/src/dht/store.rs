//! The store: records held for others under their keys, until their leases end. Each is charged to the node that asked
//! to store it; records that nodes pass on are charged to a separate share, so that they leave room for owners. In a
//! full store the records furthest from this node are evicted: lookups for them end elsewhere.

use std::collections::BTreeMap;

use super::key::{Distance, Key};
use super::limits::{
    BRINGER_BYTES, BRINGER_RECORDS, MAX_RECORD_BYTES, MAX_RECORDS, NODE_BYTES, NODE_RECORDS, PASSED_BYTES,
    PASSED_LATER, PASSED_RECORDS, SUBNET_BYTES, SUBNET_RECORDS,
};
use super::quota::{Amount, Charge, Quota, Share, Usage};
use super::record::Record;
use super::time::Moment;
use super::wire::Refusal;
use crate::address::Zone;

/// A stored record.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    /// The end of its lease.
    pub(super) until: Moment,
    /// When this node replicates it, unless another holder has stored it here again before.
    pub(super) replicate_at: Moment,
    /// Who is charged; `None` for this node's own.
    charge: Option<Charge>,
    bytes: usize,
}

/// All records, sorted by distance from this node. The address records of a node share a key, one per zone.
#[derive(Debug)]
pub(super) struct Store {
    own: Key,
    items: BTreeMap<(Distance, u8), Item>,
    accounts: Accounts,
    guarded: bool,
    /// Records evicted because others needed the room.
    pub(super) evicted: u64,
}

/// A record that is to be stored, with the terms.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: Key,
    pub(super) record: Record,
    /// Who is charged; `None` for this node.
    pub(super) charge: Option<Charge>,
    pub(super) until: Moment,
    pub(super) replicate_at: Moment,
}

fn slot(record: &Record) -> u8 {
    if let Record::Address(address) = record { address.zone() as u8 } else { 0 }
}

/// Usage and quotas of the two shares.
#[derive(Debug)]
struct Accounts {
    own: Usage,
    passed: Usage,
}

const TOTAL: Amount = Amount { count: MAX_RECORDS, bytes: MAX_RECORD_BYTES };

impl Accounts {
    fn new() -> Self {
        let own = Quota {
            node: Amount { count: NODE_RECORDS, bytes: NODE_BYTES },
            subnet: Amount { count: SUBNET_RECORDS, bytes: SUBNET_BYTES },
            total: TOTAL,
        };
        let bringer = Amount { count: BRINGER_RECORDS, bytes: BRINGER_BYTES };
        let passed = Amount { count: PASSED_RECORDS, bytes: PASSED_BYTES };
        let passed = Quota { node: bringer, subnet: bringer, total: passed };
        Self { own: Usage::new(own), passed: Usage::new(passed) }
    }

    fn of(&mut self, charge: Option<&Charge>) -> &mut Usage {
        match charge {
            Some(Charge { share: Share::Passed, .. }) => &mut self.passed,
            _ => &mut self.own,
        }
    }

    fn may_add(&self, charge: Option<&Charge>, bytes: usize) -> bool {
        charge.is_none_or(|charge| match charge.share {
            Share::Own => self.own.may_add(Some(&charge.payer), bytes),
            Share::Passed => self.passed.may_add(Some(&charge.payer), bytes) && self.passed.has_room(bytes),
        })
    }

    fn add(&mut self, charge: Option<&Charge>, bytes: usize) {
        self.of(charge).add(charge.map(|charge| &charge.payer), bytes);
    }

    fn remove(&mut self, charge: Option<&Charge>, bytes: usize) {
        self.of(charge).remove(charge.map(|charge| &charge.payer), bytes);
    }

    fn total(&self) -> Amount {
        self.own.total().and(self.passed.total())
    }
}

impl Store {
    /// An empty store of the node with the key `own`. `guarded` turns on the quotas; the total limit always holds.
    pub(super) fn new(own: Key, guarded: bool) -> Self {
        Self { own, items: BTreeMap::new(), accounts: Accounts::new(), guarded, evicted: 0 }
    }

    fn place(&self, offer: &Offer) -> (Distance, u8) {
        (self.own.distance(&offer.key), slot(&offer.record))
    }

    /// Whether an offer would be accepted, or why it is refused. Decided before its signature is verified. `Ok(false)`:
    /// this very record is here, so only its lease and charge may change.
    pub(super) fn would_take(&mut self, offer: &Offer) -> Result<bool, Refusal> {
        let place = self.place(offer);
        let bytes = offer.record.bytes();
        if let Some(known) = self.items.get(&place) {
            let same = known.record == offer.record;
            if !same && !offer.record.supersedes(&known.record) {
                return Err(Refusal::Superseded);
            }
            return self.payer(place, offer).map(|_| !same).ok_or(Refusal::Quota);
        }
        if self.guarded && !self.accounts.may_add(offer.charge.as_ref(), bytes) {
            return Err(Refusal::Quota);
        }
        let furthest = self.items.last_key_value().map(|(place, _)| place.0);
        let has_room = self.accounts.total().plus(bytes).within(TOTAL);
        if !has_room && furthest.is_none_or(|furthest| furthest <= place.0) {
            return Err(Refusal::Full);
        }
        Ok(true)
    }

    /// Who is charged for the record at `place` once `offer` is accepted; `None` where nobody has quota left. A node
    /// that stores the record for itself is charged if it can be, else the party charged so far. A node that passes on
    /// a newer version is charged only if that party cannot be. A node that extends the lease of the known record is
    /// charged in any case.
    fn payer(&mut self, place: (Distance, u8), offer: &Offer) -> Option<Option<Charge>> {
        let known = self.items.get(&place)?;
        let (charge, bytes) = (known.charge, known.bytes);
        let lasts = offer.until.since(known.until) > PASSED_LATER;
        let own = |charge: Option<Charge>| charge.is_none_or(|charge| charge.share == Share::Own);
        let choices = match known.record == offer.record {
            // The same party stores it again.
            _ if charge == offer.charge => [charge, charge],
            true if lasts => [offer.charge, offer.charge],
            true if own(offer.charge) && !own(charge) => [offer.charge, charge],
            true => [charge, charge],
            false if own(offer.charge) => [offer.charge, charge],
            false => [charge, offer.charge],
        };
        let grown = offer.record.bytes();
        self.accounts.remove(charge.as_ref(), bytes);
        let payer = choices.into_iter().find(|choice| !self.guarded || self.accounts.may_add(choice.as_ref(), grown));
        self.accounts.add(charge.as_ref(), bytes);
        payer
    }

    /// Stores a verified record that [`Self::would_take`] accepts.
    pub(super) fn put(&mut self, offer: Offer) {
        let place = self.place(&offer);
        let bytes = offer.record.bytes();
        let charge = if self.items.contains_key(&place) { self.payer(place, &offer) } else { Some(offer.charge) };
        let Some(charge) = charge else { return };
        let mut item =
            Item { record: offer.record, until: offer.until, replicate_at: offer.replicate_at, charge, bytes };
        if let Some(old) = self.items.remove(&place) {
            self.accounts.remove(old.charge.as_ref(), old.bytes);
            if old.record == item.record {
                item.until = item.until.max(old.until);
            }
        }
        self.accounts.add(charge.as_ref(), bytes);
        self.items.insert(place, item);
        while !self.accounts.total().within(TOTAL) {
            let Some((_, dropped)) = self.items.pop_last() else { break };
            self.accounts.remove(dropped.charge.as_ref(), dropped.bytes);
            self.evicted += 1;
        }
    }

    /// The record under a key that may be disclosed to an asker in `zone`; of a node's address records the most local
    /// such one.
    pub(super) fn find(&self, key: &Key, zone: Zone, at: Moment) -> Option<&Item> {
        let distance = self.own.distance(key);
        let mut items = self.items.range((distance, 0)..=(distance, u8::MAX)).map(|(_, item)| item);
        items.find(|item| {
            let told = if let Record::Address(address) = &item.record { address.zone().is_told_to(zone) } else { true };
            told && item.until > at
        })
    }

    /// Removes records whose leases have ended.
    pub(super) fn expire(&mut self, at: Moment) {
        let accounts = &mut self.accounts;
        self.items.retain(|_, item| {
            let stays = item.until > at;
            if !stays {
                accounts.remove(item.charge.as_ref(), item.bytes);
            }
            stays
        });
    }

    /// At most `count` records that are due to be replicated; each is due again at `next`.
    pub(super) fn due(&mut self, at: Moment, next: Moment, count: usize) -> Vec<(Record, Moment)> {
        let due = self.items.values_mut().filter(|item| item.replicate_at <= at).take(count);
        due.map(|item| {
            item.replicate_at = next;
            (item.record.clone(), item.until)
        })
        .collect()
    }

    /// All records with their keys.
    pub(super) fn items(&self) -> impl Iterator<Item = (Key, &Item)> {
        self.items.iter().map(|((distance, _), item)| (self.own.at(distance), item))
    }

    /// Records in all, and their bytes.
    pub(super) fn total(&self) -> Amount {
        self.accounts.total()
    }
}
