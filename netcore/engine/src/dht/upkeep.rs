//! What a node does of itself: it joins, looks into ranges of keys nobody asked about, checks contacts, and puts records
//! again or hands them on.

use std::collections::VecDeque;
use std::time::Instant;

use super::Dht;
use super::calls::Purpose;
use super::candidates::Candidates;
use super::contact::Contact;
use super::limits::{
    CHECK_ANYWAY, CHECK_SILENT, JOIN_AGAIN, K, MAX_CALLS, MAX_CHECKS, MAX_HANDOVERS, MAX_UPKEEP, REPUBLISHED_AT_ONCE,
    SPARSE_BUCKET, THIN_BUCKET,
};
use super::lookup::Lookup;
use super::operation::Goal;
use super::own_records::Due;
use super::record::Record;
use super::time::Moment;
use super::wire::Ask;
use crate::address::Subnet;
use crate::now::Now;

/// What is to be done, and when.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) next_tick: Option<Instant>,
    /// Nodes to be called for the first time.
    pub(super) candidates: Candidates,
    /// First calls, checks and handovers in flight.
    pub(super) checks: usize,
    /// Lookups of this node's own in progress.
    pub(super) running: usize,
    /// Records kept for others being put again; at most [`REPUBLISHED_AT_ONCE`].
    pub(super) copying: usize,
    /// Buckets to be looked into, as the number of bits they share.
    looks: VecDeque<usize>,
    /// Records to be handed to somebody who is closer; at most [`MAX_HANDOVERS`].
    handovers: VecDeque<(Contact, Record, Moment)>,
    joining: bool,
    joins: u32,
    /// Contacts there were after the last join.
    known: usize,
    next_join: Moment,
    /// When the own addresses are to be put again.
    next_address: Moment,
    /// Grows with each tick: what is done only now and then, and where reading begins.
    pub(super) turn: usize,
}

impl Upkeep {
    /// To be done again: others do not know where this node is.
    pub(super) fn join_again(&mut self) {
        self.next_join = Moment(0);
        self.next_address = Moment(0);
        self.joins = 0;
    }

    /// Whether the own addresses are to be put again; they are due again at `next`.
    pub(super) fn is_address_due(&mut self, at: Moment, next: Moment) -> bool {
        let due = self.next_address <= at;
        if due {
            self.next_address = next;
        }
        due
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joins > 0
    }
}

impl Dht {
    /// A node that may serve: known already, or to be called if it is wanted and would get a place, or else kept in mind.
    /// `bringer` is the public network of who says so.
    pub(super) fn consider(&mut self, now: Now, contact: Contact, bringer: Option<Subnet>) {
        if contact.node() == self.node {
            return;
        }
        if contact.record.check_form(now).is_err() {
            self.counts.implausible += 1;
            return;
        }
        if let Some(entry) = self.table.entry(&contact.key) {
            if !entry.records.cover(&contact.record) && contact.record.check(&*self.keys, now).is_ok() {
                self.table.update(&contact);
            }
            return;
        }
        if self.upkeep.candidates.told_again(&contact.key, bringer) {
            return;
        }
        if self.table.is_wanted(&contact.key) && self.table.would_take(&contact) {
            let added = self.upkeep.candidates.add(contact, bringer);
            self.counts.candidates_dropped += u64::from(!added);
        } else if let Some(oldest) = self.table.keep_spare(&contact, self.moment(now), CHECK_SILENT) {
            self.check(now, oldest);
        }
    }

    /// What this node's own lookup of a place ended with: those of ranges this node knows little of are called. Only those
    /// closest to the place, as who tells of nodes can choose whom to tell of, but not who is close to what it did not choose.
    pub(super) fn meet_found(&mut self, now: Now, lookup: &Lookup) {
        for (contact, bringer) in lookup.unasked(K) {
            let bits = self.key.distance(&contact.key).shared_bits();
            if self.table.sound(bits) < SPARSE_BUCKET {
                self.consider(now, contact, bringer);
            }
        }
    }

    /// Asks a contact whether it is there, unless too many are being asked.
    fn check(&mut self, now: Now, contact: Contact) {
        self.check_for(now, contact, Purpose::Check);
    }

    fn check_for(&mut self, now: Now, contact: Contact, purpose: Purpose) {
        if self.upkeep.checks < MAX_CHECKS && self.calls.len() < MAX_CALLS {
            self.table.checking(&contact.key);
            self.upkeep.checks += 1;
            self.call(now, contact, purpose, Ask::Ping);
        }
    }

    /// Begins what there is room for. To be called last with every event.
    pub(super) fn keep_up(&mut self, now: Now) {
        while self.upkeep.checks < MAX_CHECKS && self.calls.len() < MAX_CALLS {
            let Some(waiting) = self.upkeep.candidates.next() else { break };
            let (at, candidate) = (self.moment(now), &waiting.contact);
            if self.table.entry(&candidate.key).is_some() || !self.table.would_take(candidate) {
                continue;
            }
            if !self.table.is_wanted(&candidate.key) {
                self.table.keep_spare(candidate, at, CHECK_SILENT);
                continue;
            }
            let second = self.second(now);
            let may_call = |bringer: &_| !self.config.defences || self.upkeep.candidates.may_call(*bringer, second);
            let Some(bringer) = waiting.bringers().find(may_call) else {
                self.counts.candidates_doubted += 1;
                continue;
            };
            match candidate.record.check(&*self.keys, now) {
                Ok(()) => self.check_for(now, waiting.contact, Purpose::First { bringer }),
                Err(_) => self.counts.implausible += 1,
            }
        }
        while self.upkeep.checks < MAX_CHECKS && self.calls.len() < MAX_CALLS {
            let Some((contact, record, until)) = self.upkeep.handovers.pop_front() else { break };
            let left = until.since(self.moment(now));
            if left > 0 {
                self.upkeep.checks += 1;
                self.call(now, contact, Purpose::Handover, Ask::Pass { record, left });
            }
        }
        let at = self.moment(now);
        if !self.upkeep.joining && at >= self.upkeep.next_join && self.table.len() > 0 {
            self.upkeep.joining = true;
            self.upkeep.running += 1;
            let id = self.next_query();
            self.look(now, id, self.key, Goal::Join, true);
        }
        while self.upkeep.running < MAX_UPKEEP {
            let Some(bits) = self.upkeep.looks.pop_front() else { break };
            let random = self.random_bytes();
            let target = self.key.at_prefix(bits, random);
            self.upkeep.running += 1;
            let id = self.next_query();
            self.look(now, id, target, Goal::Look, true);
        }
        self.put_own_again(now, at);
    }

    /// The own neighbourhood has been looked up: now the ranges further away that are still thin.
    pub(super) fn joined(&mut self, now: Now) {
        let at = self.moment(now);
        let thin = |bits: &usize| self.table.sound(*bits) < THIN_BUCKET;
        if self.upkeep.joins == 0 {
            let depth = self.table.depth();
            self.upkeep.looks = (0..depth.saturating_sub(1)).filter(thin).collect();
        }
        self.upkeep.joining = false;
        self.upkeep.joins = self.upkeep.joins.saturating_add(1);
        // Soon again while it brings many: in a network that begins, everybody else is new too. Later four times as often as
        // other ranges, as only this node's neighbours can tell others that it is there.
        let known = self.table.len();
        let grows = known > self.upkeep.known + self.upkeep.known / 2;
        self.upkeep.known = known;
        let pause = if grows { JOIN_AGAIN } else { self.config.refresh / 4 };
        let pause = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
        self.upkeep.next_join = Moment(at.0.saturating_add(pause));
    }

    /// A contact is new: records that it is closer to than this node are handed to it, by the node that was closest so far.
    pub(super) fn entered(&mut self, now: Now, contact: &Contact) {
        if !self.serves() {
            return;
        }
        let at = self.moment(now);
        let zone = contact.record.zone();
        let mut dropped = 0;
        for (key, item) in self.store.items().filter(|(_, item)| item.until > at) {
            let (theirs, own) = (contact.key.distance(&key), self.key.distance(&key));
            let told = if let Record::Address(address) = &item.record { address.zone().is_told_to(zone) } else { true };
            // Nobody but the new one may be closer than this node, so that one of `K` does it.
            if !told || self.table.closer(&key, 2) > usize::from(theirs < own) {
                continue;
            }
            let last = self.table.closest(&key, K, |entry| entry.failures == 0);
            if last.len() == K && last.last().is_some_and(|last| theirs > last.key.distance(&key)) {
                continue;
            }
            if self.upkeep.handovers.len() < MAX_HANDOVERS {
                self.upkeep.handovers.push_back((contact.clone(), item.record.clone(), item.until));
            } else {
                dropped += 1;
            }
        }
        self.counts.handovers_dropped += dropped;
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Now) {
        let at = self.moment(now);
        self.upkeep.turn = self.upkeep.turn.wrapping_add(1);
        if self.upkeep.turn.is_multiple_of(3) {
            let second = self.second(now);
            self.rates.forget(second);
            self.upkeep.candidates.forget(second);
            self.store.expire(at);
            self.providers.expire(at);
            self.table.expire(now);
            self.met.expire(now);
            self.fill_up(now);
        }
        if let Some(stalest) = self.table.stalest(at, CHECK_ANYWAY) {
            self.check(now, stalest);
        }
        let refresh = u32::try_from(self.config.refresh.as_secs()).unwrap_or(u32::MAX);
        if self.upkeep.looks.is_empty()
            && let Some(bits) = self.table.unlooked(at, refresh)
        {
            self.upkeep.looks.push_back(bits);
        }
        self.put_copies_again(now, at);
    }

    /// Calls one of those kept in mind for a bucket that has a free place: in time buckets get full, not all while joining.
    fn fill_up(&mut self, now: Now) {
        let Some(spare) = self.table.take_spare(self.upkeep.turn).map(Contact::new) else { return };
        if self.table.entry(&spare.key).is_none() && self.table.would_take(&spare) {
            match spare.record.check(&*self.keys, now) {
                Ok(()) => self.check(now, spare),
                Err(_) => self.counts.implausible += 1,
            }
        }
    }

    /// Puts again what is due of this node's own, a few at a time.
    fn put_own_again(&mut self, now: Now, at: Moment) {
        while self.upkeep.running < MAX_UPKEEP && self.own.is_due(at, self.serves()) {
            let next = self.again(at);
            let Some(due) = self.own.due(at, next, self.serves()) else { break };
            self.upkeep.running += 1;
            let id = self.next_query();
            match due {
                Due::Record(record, until) => {
                    self.look(now, id, record.key(), Goal::Put { record, left: until.since(at) }, true);
                }
                Due::Provided(key) => self.look(now, id, key, Goal::Provide { key }, true),
            }
        }
    }

    /// Puts again what is due of what this node keeps for others, if it is one of those who should: the others' copies are
    /// left to their end, so that what was brought to many does not spread to more.
    fn put_copies_again(&mut self, now: Now, at: Moment) {
        if !self.serves() || self.upkeep.copying > 0 {
            return;
        }
        let next = self.again(at);
        for (record, until) in self.store.due(at, next, REPUBLISHED_AT_ONCE) {
            if self.config.defences && self.table.closer(&record.key(), K) >= K {
                continue;
            }
            self.upkeep.copying += 1;
            self.put_near(now, record, until.since(at));
        }
    }
}
