//! Records kept for others: under their key, until they end, each charged to who brought it. What nodes pass on for others is
//! charged apart, so that nobody fills with it what they may bring for themselves. When there is no room the ones furthest from
//! this node make some: they are looked for elsewhere.

use std::collections::BTreeMap;

use super::key::{Distance, Key};
use super::limits::{
    BRINGER_BYTES, BRINGER_RECORDS, MAX_RECORD_BYTES, MAX_RECORDS, NODE_BYTES, NODE_RECORDS, PASSED_BYTES,
    PASSED_LATER, PASSED_RECORDS, SUBNET_BYTES, SUBNET_RECORDS,
};
use super::quota::{Amount, Charge, Quota, Usage, Way};
use super::record::Record;
use super::time::Moment;
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
    /// Who pays; `None` for this node.
    charge: Option<Charge>,
    bytes: usize,
}

/// All of them, by distance from this node; a node's address records of several zones are under one key.
#[derive(Debug)]
pub(super) struct Store {
    own: Key,
    items: BTreeMap<(Distance, u8), Item>,
    accounts: Accounts,
    guarded: bool,
    /// Dropped because others needed the room.
    pub(super) evicted: u64,
}

/// A record, and what keeping it is about.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: Key,
    pub(super) record: Record,
    /// Who is to pay; `None` for this node.
    pub(super) charge: Option<Charge>,
    pub(super) until: Moment,
    pub(super) again: Moment,
}

fn slot(record: &Record) -> u8 {
    if let Record::Address(address) = record { address.zone() as u8 } else { 0 }
}

/// What is kept of each way, and who pays for how much.
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
            Some(Charge { way: Way::Passed, .. }) => &mut self.passed,
            _ => &mut self.own,
        }
    }

    fn may_add(&self, charge: Option<&Charge>, bytes: usize) -> bool {
        charge.is_none_or(|charge| match charge.way {
            Way::Own => self.own.may_add(Some(&charge.owner), bytes),
            Way::Passed => self.passed.may_add(Some(&charge.owner), bytes) && self.passed.has_room(bytes),
        })
    }

    fn add(&mut self, charge: Option<&Charge>, bytes: usize) {
        self.of(charge).add(charge.map(|charge| &charge.owner), bytes);
    }

    fn remove(&mut self, charge: Option<&Charge>, bytes: usize) {
        self.of(charge).remove(charge.map(|charge| &charge.owner), bytes);
    }

    fn total(&self) -> Amount {
        self.own.total().and(self.passed.total())
    }
}

impl Store {
    /// An empty one of the node at `own`. `guarded` turns the quotas of each on; the total always holds.
    pub(super) fn new(own: Key, guarded: bool) -> Self {
        Self { own, items: BTreeMap::new(), accounts: Accounts::new(), guarded, evicted: 0 }
    }

    fn place(&self, offer: &Offer) -> (Distance, u8) {
        (self.own.distance(&offer.key), slot(&offer.record))
    }

    /// Why an offer would not be taken, before anybody looks at its signature. `Ok(false)`: it is here already, and only its
    /// circumstances would change.
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

    /// Who pays for what is kept at `place` once `offer` is taken there; `None` where nobody can. Whoever passes a record on does
    /// not pay for its growth as long as somebody else can; whoever brings one for itself, or makes it last, does.
    fn payer(&mut self, place: (Distance, u8), offer: &Offer) -> Option<Option<Charge>> {
        let known = self.items.get(&place)?;
        let (charge, bytes) = (known.charge, known.bytes);
        let lasts = offer.until.since(known.until) > PASSED_LATER;
        let own = |charge: Option<Charge>| charge.is_none_or(|charge| charge.way == Way::Own);
        let choices = match known.record == offer.record {
            // Who paid and says so again.
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

    /// Keeps a record that is right and that [`Self::would_take`] takes.
    pub(super) fn put(&mut self, offer: Offer) {
        let place = self.place(&offer);
        let bytes = offer.record.bytes();
        let charge = if self.items.contains_key(&place) { self.payer(place, &offer) } else { Some(offer.charge) };
        let Some(charge) = charge else { return };
        let mut item = Item { record: offer.record, until: offer.until, again: offer.again, charge, bytes };
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
        let accounts = &mut self.accounts;
        self.items.retain(|_, item| {
            let stays = item.until > at;
            if !stays {
                accounts.remove(item.charge.as_ref(), item.bytes);
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
        self.accounts.total()
    }
}
