//! Upkeep: the node joins, refreshes ranges of keys, checks contacts, republishes its records, and replicates or hands
//! on those that it holds.

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

/// The work that upkeep has to do, and when.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) next_tick: Option<Instant>,
    /// Nodes that wait for their first call.
    pub(super) candidates: Candidates,
    /// First calls, checks and handovers in flight; at most [`MAX_CHECKS`] begin here.
    pub(super) checks: usize,
    /// Lookups of upkeep in progress; at most [`MAX_UPKEEP`].
    pub(super) running: usize,
    /// Records being replicated; at most [`REPUBLISHED_AT_ONCE`].
    pub(super) copying: usize,
    /// Buckets to refresh, as their number of shared bits.
    refreshes: VecDeque<usize>,
    /// Records to hand to a closer node, with the end of their lease; at most [`MAX_HANDOVERS`].
    handovers: VecDeque<(Contact, Record, Moment)>,
    joining: bool,
    joins: u32,
    /// Contacts after the last join.
    known: usize,
    next_join: Moment,
    /// When this node's address records are to be republished.
    next_address: Moment,
    /// Counts ticks: some work is done at every third, and spares are taken from another bucket each time.
    pub(super) turn: usize,
}

impl Upkeep {
    /// Makes a join due: other nodes do not know this node's address yet.
    pub(super) fn join_again(&mut self) {
        self.next_join = Moment(0);
        self.next_address = Moment(0);
        self.joins = 0;
    }

    /// Whether this node's address records are due to be republished; if so, they are due again at `next`.
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
    /// Takes note of a node that may serve. A known contact's record is updated; a wanted node that would get a place
    /// waits for its first call; any other becomes a spare. `introducer` is the public subnet that named it.
    pub(super) fn consider(&mut self, now: Now, contact: Contact, introducer: Option<Subnet>) {
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
        if self.upkeep.candidates.named_again(&contact.key, introducer) {
            return;
        }
        if self.table.is_wanted(&contact.key) && self.table.would_take(&contact) {
            let added = self.upkeep.candidates.add(contact, introducer);
            self.counts.candidates_dropped += u64::from(!added);
        } else if let Some(oldest) = self.table.keep_spare(&contact, self.moment(now), CHECK_SILENT) {
            self.check(now, oldest);
        }
    }

    /// Takes note of the nodes that a lookup of upkeep ended with and did not ask, if their buckets are sparse. Only
    /// the closest count: a liar chooses which nodes to return, but not which are close to a key that it did not
    /// choose.
    pub(super) fn meet_found(&mut self, now: Now, lookup: &Lookup) {
        for (contact, introducer) in lookup.unasked(K) {
            let bits = self.key.distance(&contact.key).shared_bits();
            if self.table.sound(bits) < SPARSE_BUCKET {
                self.consider(now, contact, introducer);
            }
        }
    }

    /// Calls a contact to check whether it answers, unless too many checks are in flight.
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

    /// Begins the work of upkeep that the limits allow. Called last by every method that changes something.
    pub(super) fn keep_up(&mut self, now: Now) {
        while self.upkeep.checks < MAX_CHECKS && self.calls.len() < MAX_CALLS {
            let Some(waiting) = self.upkeep.candidates.next() else { break };
            let (at, candidate) = (self.moment(now), &waiting.contact);
            // The table may have changed while this node waited: decide again.
            if self.table.entry(&candidate.key).is_some() || !self.table.would_take(candidate) {
                continue;
            }
            if !self.table.is_wanted(&candidate.key) {
                self.table.keep_spare(candidate, at, CHECK_SILENT);
                continue;
            }
            let second = self.second(now);
            let may_call =
                |introducer: &_| !self.config.defences || self.upkeep.candidates.may_call(*introducer, second);
            let Some(introducer) = waiting.introducers().find(may_call) else {
                self.counts.candidates_doubted += 1;
                continue;
            };
            match candidate.record.check(&*self.keys, now) {
                Ok(()) => self.check_for(now, waiting.contact, Purpose::First { introducer }),
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
            self.start_lookup(now, id, self.key, Goal::Join, true);
        }
        while self.upkeep.running < MAX_UPKEEP {
            let Some(bits) = self.upkeep.refreshes.pop_front() else { break };
            let random = self.random_bytes();
            let target = self.key.at_prefix(bits, random);
            self.upkeep.running += 1;
            let id = self.next_query();
            self.start_lookup(now, id, target, Goal::Look, true);
        }
        self.put_own_again(now, at);
    }

    /// A join has ended: schedules the next one, and after the first refreshes the buckets that are still thin.
    pub(super) fn joined(&mut self, now: Now) {
        let at = self.moment(now);
        let thin = |bits: &usize| self.table.sound(*bits) < THIN_BUCKET;
        if self.upkeep.joins == 0 {
            let depth = self.table.depth();
            self.upkeep.refreshes = (0..depth.saturating_sub(1)).filter(thin).collect();
        }
        self.upkeep.joining = false;
        self.upkeep.joins = self.upkeep.joins.saturating_add(1);
        // A new network grows quickly, so the next join follows soon while each adds many contacts. Later it runs four
        // times as often as a refresh: only its neighbours can name this node to others.
        let known = self.table.len();
        let grows = known > self.upkeep.known + self.upkeep.known / 2;
        self.upkeep.known = known;
        let pause = if grows { JOIN_AGAIN } else { self.config.refresh / 4 };
        let pause = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
        self.upkeep.next_join = Moment(at.0.saturating_add(pause));
    }

    /// Hands records to a new contact that is closer to them. Only the closest holder so far does so, so the newcomer
    /// gets each record once.
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
            // The newcomer may be the only contact closer than this node; otherwise another holder hands the record
            // over.
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

    /// Does the periodic work; called every [`super::limits::TICK`].
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
            self.call_spare(now);
        }
        if let Some(stalest) = self.table.stalest_contact(at, CHECK_ANYWAY) {
            self.check(now, stalest);
        }
        let refresh = u32::try_from(self.config.refresh.as_secs()).unwrap_or(u32::MAX);
        if self.upkeep.refreshes.is_empty()
            && let Some(bits) = self.table.stalest_bucket(at, refresh)
        {
            self.upkeep.refreshes.push_back(bits);
        }
        self.put_copies_again(now, at);
    }

    /// Calls a spare of a bucket that has a free place. One at a time: buckets fill gradually, not all during a join.
    fn call_spare(&mut self, now: Now) {
        let Some(spare) = self.table.take_spare(self.upkeep.turn).map(Contact::new) else { return };
        if self.table.entry(&spare.key).is_none() && self.table.would_take(&spare) {
            match spare.record.check(&*self.keys, now) {
                Ok(()) => self.check(now, spare),
                Err(_) => self.counts.implausible += 1,
            }
        }
    }

    /// Republishes this node's own records and provided keys that are due, a few at a time.
    fn put_own_again(&mut self, now: Now, at: Moment) {
        while self.upkeep.running < MAX_UPKEEP && self.own.is_due(at, self.serves()) {
            let next = self.next_republish(at);
            let Some(due) = self.own.due(at, next, self.serves()) else { break };
            self.upkeep.running += 1;
            let id = self.next_query();
            match due {
                Due::Record(record, until) => {
                    self.start_lookup(now, id, record.key(), Goal::Put { record, left: until.since(at) }, true);
                }
                Due::Provided(key) => self.start_lookup(now, id, key, Goal::Provide { key }, true),
            }
        }
    }

    /// Replicates stored records that are due and of which this node is one of the `K` closest holders. Copies further
    /// away expire, so that records do not spread to ever more nodes.
    fn put_copies_again(&mut self, now: Now, at: Moment) {
        if !self.serves() || self.upkeep.copying > 0 {
            return;
        }
        let next = self.next_republish(at);
        for (record, until) in self.store.due(at, next, REPUBLISHED_AT_ONCE) {
            if self.config.defences && self.table.closer(&record.key(), K) >= K {
                continue;
            }
            self.upkeep.copying += 1;
            self.put_near(now, record, until.since(at));
        }
    }
}
