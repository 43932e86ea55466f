//! Moves jobs on: from the start through a lookup's steps, and for records through their putting, to the outcome.

use std::net::IpAddr;
use std::sync::Arc;

use super::bucket::{Entry, Moment};
use super::calls::Purpose;
use super::contact::Contact;
use super::key::Key;
use super::limits::{
    CACHED_LEFT, DEPTH_GET, DEPTH_PUT, DEPTH_REFRESH, K, MAX_CALLS, MAX_PUT_TRIES, PROVIDED_FOR, QUORUM, REPAIRS,
};
use super::lookup::{Lookup, Plan, Step};
use super::query::{Goal, Holders, Query, Spread, Stage, Work};
use super::record::{ProviderRecord, Record};
use super::store::Offer;
use super::wire::{Ask, Refusal, Response};
use super::{Busy, CallFailed, Dht, Failed, Job, Lie, Outcome, Output, QueryId};
use crate::address::{AddressRecord, Zone};
use crate::now::Now;

/// A zone whose peers may be told of everything in that zone: what this node tells itself.
const ANY_ZONE: [Zone; 3] = [Zone::Loopback, Zone::Private, Zone::Public];

impl Dht {
    /// Begins what a caller asked for.
    pub(super) fn begin_job(&mut self, now: Now, id: QueryId, job: Job) -> Result<(), Busy> {
        match job {
            Job::Locate(node) if node == self.node => {
                let own = ANY_ZONE.iter().rev().find_map(|zone| self.addresses.of(*zone)).cloned();
                self.say_done(id, Outcome::Located(own));
            }
            Job::Locate(node) => self.look(now, id, Key::of_node(node), Goal::Locate { node, best: None }, false),
            Job::Look(key) => self.look(now, id, key, Goal::Look, false),
            Job::Get { key } => {
                let mut holders = Holders::default();
                let at = self.moment(now);
                let kept = ANY_ZONE.iter().find_map(|zone| self.store.find(&key, *zone, at));
                if let Some(record) =
                    kept.map(|item| item.record.clone()).or_else(|| self.own.record(&key, at).cloned())
                {
                    holders.has(None, record);
                }
                match holders.best.take_if(|best| matches!(best, Record::Immutable { .. })) {
                    Some(record) => self.say_done(id, Outcome::Got(Some(record))),
                    None => self.look(now, id, key, Goal::Get(holders), false),
                }
            }
            Job::Put(record) => {
                if let Err(error) = record.check(&*self.keys, now) {
                    self.say_done(id, Outcome::Failed(Failed::Invalid(error)));
                    return Ok(());
                }
                let (at, left) = (self.moment(now), seconds(record.lifetime(now)));
                let (until, again) = (Moment(at.0.saturating_add(left)), self.again(at));
                if !self.own.keep_record(&record, at, until, again) {
                    self.counts.own_not_kept += 1;
                    self.say_done(id, Outcome::Failed(Failed::TooManyOwn));
                    return Ok(());
                }
                self.look(now, id, record.key(), Goal::Put { record, left }, false);
            }
            Job::Provide(key) => {
                let at = self.moment(now);
                if !self.own.keep_provided(key, at) {
                    return Err(Busy);
                }
                if self.serves() {
                    self.look(now, id, key, Goal::Provide { key }, false);
                } else {
                    self.say_done(id, Outcome::Failed(Failed::NoAddress));
                }
            }
            Job::Unprovide(key) => {
                self.own.forget_provided(&key);
                self.say_done(id, Outcome::Stored { copies: 0 });
            }
            Job::Providers { key, limit } => {
                // This node may be one of the few that list them: nobody else would tell it then.
                let at = self.moment(now);
                let listed = ANY_ZONE.iter().flat_map(|zone| self.providers.find(&key, *zone, at));
                let others = listed.filter(|provider| provider.address.node != self.node);
                let found = others.map(|provider| (provider.address.node, provider.address)).collect();
                let goal = Goal::Providers { limit, found, holders: Vec::new() };
                self.look(now, id, key, goal, false);
            }
        }
        Ok(())
    }

    /// Begins a lookup.
    pub(super) fn look(&mut self, now: Now, id: QueryId, target: Key, goal: Goal, upkeep: bool) {
        let seeds = self.seeds(now, &target, K);
        let work = if upkeep { Work::Upkeep } else { Work::Job };
        if seeds.is_empty() {
            let query = Query { goal, stage: Stage::Putting(Spread::new(Vec::new(), 0)), work, starved: false };
            return self.finish(now, id, query, Some(Outcome::Failed(Failed::NoContacts)));
        }
        self.table.looked(&target, self.moment(now));
        let depth = match goal {
            Goal::Locate { .. } | Goal::Get(_) | Goal::Providers { .. } => DEPTH_GET,
            Goal::Join if !self.upkeep.has_joined() => DEPTH_GET,
            Goal::Put { .. } | Goal::Provide { .. } | Goal::Join => DEPTH_PUT,
            Goal::Look => DEPTH_REFRESH,
        };
        let lookup = Lookup::new(target, Plan { depth, guarded: self.config.defences }, seeds);
        let query = Query { goal, stage: Stage::Looking(lookup), work, starved: false };
        self.ends_later(now, id);
        self.drive(now, id, query);
    }

    /// Puts a record to the nodes of the table that are closest to it, without a lookup: this node is one of them.
    pub(super) fn put_near(&mut self, now: Now, record: Record, left: u32) {
        let id = self.next_query();
        let closest = self.seeds(now, &record.key(), MAX_PUT_TRIES);
        let spread = Spread::new(closest, 1);
        let goal = Goal::Put { record, left };
        self.ends_later(now, id);
        self.drive(now, id, Query { goal, stage: Stage::Putting(spread), work: Work::Copy, starved: false });
    }

    /// Contacts to begin with: sound ones, or else any; with few, those waiting for their first call too.
    fn seeds(&self, now: Now, target: &Key, count: usize) -> Vec<Contact> {
        let contact = |entry: &Entry| {
            let record = entry.records.to_dial(entry.failures)?;
            Some(Contact { key: entry.key, record: Arc::clone(record) })
        };
        let mut seeds: Vec<Contact> =
            self.table.closest(target, count, |entry| entry.failures == 0).into_iter().filter_map(contact).collect();
        if seeds.len() < QUORUM {
            let failed = self.table.closest(target, count - seeds.len(), |entry| entry.failures > 0);
            seeds.extend(failed.into_iter().filter_map(contact));
            let right = |contact: &&Contact| contact.record.check(&*self.keys, now).is_ok();
            seeds.extend(self.upkeep.candidates.contacts().take(QUORUM).filter(right).cloned());
        }
        seeds
    }

    /// Does with a query all that can be done now, and keeps it unless it has ended.
    fn drive(&mut self, now: Now, id: QueryId, mut query: Query) {
        loop {
            let step = match &mut query.stage {
                Stage::Looking(lookup) => {
                    let check = Self::checker(&self.table, &self.keys, now);
                    if self.calls.len() >= MAX_CALLS { Move::Starve } else { Move::of(lookup.step(&check)) }
                }
                Stage::Putting(_) if self.calls.len() >= MAX_CALLS => Move::Starve,
                Stage::Putting(spread) => match spread.next() {
                    Some(contact) => Move::Put(contact),
                    None if spread.waiting > 0 => Move::Wait,
                    None => Move::Finish,
                },
            };
            match step {
                Move::Ask(contact) => {
                    let Stage::Looking(lookup) = &query.stage else { return };
                    let ask = query.goal.ask(lookup.target);
                    self.call(now, contact, Purpose::Step(id), ask);
                }
                Move::Put(contact) => {
                    if let Err(Refused) = self.put_to(now, id, &query, contact)
                        && let Stage::Putting(spread) = &mut query.stage
                    {
                        spread.not_kept();
                    }
                }
                Move::Forged(contact) => self.lied(contact.node(), Lie::Contact),
                Move::Looked => {
                    if !self.looked_far_enough(now, &mut query) {
                        return self.finish(now, id, query, None);
                    }
                }
                Move::Finish => return self.finish(now, id, query, None),
                Move::Starve => {
                    if !query.starved {
                        query.starved = true;
                        self.starved.push_back(id);
                    }
                    break;
                }
                Move::Wait => break,
            }
        }
        self.queries.insert(id, query);
    }

    /// A lookup's paths have come to their end: goes on to what follows, with `false` when that is nothing.
    fn looked_far_enough(&mut self, now: Now, query: &mut Query) -> bool {
        let Stage::Looking(lookup) = &mut query.stage else { return false };
        let astray = self.config.defences && self.table.spacing().is_some_and(|spacing| lookup.is_sparse(spacing));
        if query.goal.is_empty_handed() || astray && !matches!(query.goal, Goal::Look) {
            let target = lookup.target;
            let more = self.table.closest(&target, 4 * K, |entry| entry.failures == 0);
            let contact = |entry: &Entry| {
                let record = entry.records.to_dial(0)?;
                Some(Contact { key: entry.key, record: Arc::clone(record) })
            };
            if lookup.extend(more.into_iter().filter_map(contact).collect()) {
                self.counts.extended += 1;
                return true;
            }
        }
        let closest = lookup.closest(MAX_PUT_TRIES);
        let target = lookup.target;
        let copies = match &query.goal {
            Goal::Put { record, left } if self.is_among(&target, &closest) => {
                let (record, left) = (record.clone(), *left);
                u32::from(self.keep_own(now, target, record, left))
            }
            Goal::Put { .. } | Goal::Provide { .. } => 0,
            Goal::Join if self.serves() => {
                let (at, next) = (self.moment(now), self.again(self.moment(now)));
                if !self.upkeep.is_address_due(at, next) {
                    return false;
                }
                0
            }
            _ => return false,
        };
        query.stage = Stage::Putting(Spread::new(closest, copies));
        true
    }

    /// Whether this node serves and is itself one of the `K` closest.
    fn is_among(&self, target: &Key, closest: &[Contact]) -> bool {
        let own = self.key.distance(target);
        self.serves() && closest.get(K - 1).is_none_or(|last| own < last.key.distance(target))
    }

    /// Keeps a record of this node's own as one of the closest.
    fn keep_own(&mut self, now: Now, key: Key, record: Record, left: u32) -> bool {
        let at = self.moment(now);
        let until = Moment(at.0.saturating_add(left));
        let offer = Offer { key, record, charge: None, until, again: self.again(at) };
        let taken = self.store.would_take(&offer).is_ok();
        if taken {
            self.store.put(offer);
        }
        taken
    }

    /// Asks a node to keep what a query is about.
    fn put_to(&mut self, now: Now, id: QueryId, query: &Query, contact: Contact) -> Result<(), Refused> {
        let zone = contact.record.zone();
        let check = Self::checker(&self.table, &self.keys, now);
        if check(&contact).is_err() {
            return Err(Refused);
        }
        drop(check);
        let own = self.addresses.told_to(zone).cloned();
        let ask = match &query.goal {
            Goal::Put { record, left } => {
                if let Record::Address(address) = record
                    && !address.zone().is_told_to(zone)
                {
                    return Err(Refused);
                }
                let (record, left) = (record.clone(), *left);
                if query.work == Work::Copy { Ask::Pass { record, left } } else { Ask::Put { record, left } }
            }
            Goal::Provide { key } => {
                let address = own.ok_or(Refused)?;
                let provider = ProviderRecord::sign(&*self.keys, *key, now.unix + PROVIDED_FOR, address);
                Ask::Provide { provider }
            }
            Goal::Join => {
                let record = Record::Address(own.ok_or(Refused)?);
                let left = seconds(record.lifetime(now));
                Ask::Put { record, left }
            }
            _ => return Err(Refused),
        };
        self.call(now, contact, Purpose::Put(id), ask);
        Ok(())
    }

    /// A step of a lookup has ended.
    pub(super) fn stepped(
        &mut self,
        now: Now,
        id: QueryId,
        contact: Contact,
        from: Option<IpAddr>,
        answer: Result<Response, CallFailed>,
    ) {
        let Some(mut query) = self.queries.remove(&id) else { return };
        let Stage::Looking(lookup) = &mut query.stage else { return self.drive(now, id, query) };
        let (target, callee) = (lookup.target, contact.record.zone());
        let (found, contacts) = match (answer, query.goal.ask(target)) {
            (Err(_) | Ok(Response::Refused(_)), _) => {
                lookup.failed(&contact.key);
                return self.drive(now, id, query);
            }
            (Ok(Response::Nodes { contacts }), Ask::FindNode { .. }) => (Found::Nothing, contacts),
            (Ok(Response::Found { record, contacts }), Ask::Get { .. }) => (Found::Record(record), contacts),
            (Ok(Response::Providers { providers, contacts }), Ask::Providers { .. }) => {
                (Found::Providers(providers), contacts)
            }
            (Ok(_), _) => {
                lookup.failed(&contact.key);
                self.lied(contact.node(), Lie::Answer);
                return self.drive(now, id, query);
            }
        };
        let contacts = self.plausible(now, callee, contacts);
        if let Stage::Looking(lookup) = &mut query.stage {
            let check = Self::checker(&self.table, &self.keys, now);
            lookup.answered(&contact.key, contacts.clone(), &check);
        }
        if matches!(query.goal, Goal::Look | Goal::Join) {
            self.meet(now, &contacts, from);
        }
        if let Stage::Looking(lookup) = &query.stage
            && self.learn(now, &mut query.goal, lookup, contact, found, &contacts)
        {
            return self.finish(now, id, query, None);
        }
        self.drive(now, id, query);
    }

    /// The contacts of an answer that an honest node tells one it talks to in zone `callee`, and whose time is right by this
    /// node's clock; of those this node knows better, what it knows.
    fn plausible(&mut self, now: Now, callee: Zone, told: Vec<Arc<AddressRecord>>) -> Vec<Contact> {
        let mut contacts = Vec::with_capacity(told.len().min(K));
        for record in told.into_iter().take(K) {
            let zone = record.zone();
            if record.node == self.node {
                continue; // it is told of nodes near a key, and this one may be
            }
            if !zone.is_told_to(callee) || record.check_form(now).is_err() {
                self.counts.implausible += 1;
                continue;
            }
            let mut contact = Contact::new(record);
            let entry = self.table.entry(&contact.key).filter(|entry| entry.failures == 0);
            if let Some(known) = entry.and_then(|entry| entry.records.of(zone))
                && known.sequence >= contact.record.sequence
            {
                contact.record = Arc::clone(known);
            }
            contacts.push(contact);
        }
        contacts
    }

    /// Whether a node in zone `callee` may tell of this record. It means something else there, and would make this node send
    /// packets to whoever has the address here.
    fn is_told_by(&mut self, callee: Zone, record: &AddressRecord) -> bool {
        let told = record.zone().is_told_to(callee);
        self.counts.implausible += u64::from(!told);
        told
    }

    /// Takes what an answer has besides contacts. Returns whether the job has what it wants.
    fn learn(
        &mut self,
        now: Now,
        goal: &mut Goal,
        lookup: &Lookup,
        from: Contact,
        found: Found,
        contacts: &[Contact],
    ) -> bool {
        let (target, callee) = (lookup.target, from.record.zone());
        match (goal, found) {
            (Goal::Locate { node, best }, Found::Record(record)) => {
                if from.node() == *node {
                    *best = Some(from.record); // it answered itself, there
                    return true;
                }
                let told = contacts.iter().find(|contact| contact.node() == *node).map(|contact| &contact.record);
                let kept = match record {
                    Some(Record::Address(record)) if record.node == *node => Some(record),
                    Some(_) => {
                        self.lied(from.node(), Lie::Record);
                        None
                    }
                    None => None,
                };
                let kept = kept.filter(|record| self.is_told_by(callee, record));
                for record in kept.iter().chain(told) {
                    let newer = best.as_ref().is_none_or(|best| record.sequence > best.sequence);
                    if newer && record.check(&*self.keys, now).is_ok() {
                        *best = Some(Arc::clone(record));
                    }
                }
                false
            }
            (Goal::Get(holders), Found::Record(None)) => {
                holders.lacks(from);
                false
            }
            (Goal::Get(holders), Found::Record(Some(record))) => {
                if let Record::Address(address) = &record
                    && !self.is_told_by(callee, address)
                {
                    return false;
                }
                let right = if record.key() == target {
                    record.check(&*self.keys, now).map_err(|e| e.is_lie())
                } else {
                    Err(true)
                };
                match right {
                    Ok(()) => holders.has(Some(from), record),
                    Err(true) => self.lied(from.node(), Lie::Record),
                    Err(false) => {}
                }
                holders.is_settled(lookup)
            }
            (Goal::Providers { limit, found, holders }, Found::Providers(told)) => {
                let mut holds = false;
                for provider in told {
                    let node = provider.address.node;
                    // Who names nobody but itself may keep no list, or have forgotten it.
                    let of_another = node != from.node();
                    holds |= of_another && found.contains_key(&node);
                    if found.len() >= *limit || node == self.node || found.contains_key(&node) {
                        continue;
                    }
                    if !self.is_told_by(callee, &provider.address) {
                        continue;
                    }
                    let right = if provider.key == target {
                        provider.check(&*self.keys, now).map_err(|e| e.is_lie())
                    } else {
                        Err(true)
                    };
                    match right {
                        Ok(()) => {
                            holds |= of_another;
                            found.insert(node, provider.address);
                        }
                        Err(true) => {
                            self.lied(from.node(), Lie::Record);
                            break;
                        }
                        Err(false) => {}
                    }
                }
                if holds {
                    holders.push(from.key);
                }
                found.len() >= *limit || lookup.among_closest(holders.iter()) >= QUORUM
            }
            _ => false,
        }
    }

    /// A node that was asked to keep something has answered.
    pub(super) fn put_answered(&mut self, now: Now, id: QueryId, answer: &Result<Response, CallFailed>) {
        let Some(mut query) = self.queries.remove(&id) else { return };
        if let Stage::Putting(spread) = &mut query.stage {
            match answer {
                Ok(Response::Done) => spread.kept(),
                Ok(Response::Refused(Refusal::Superseded)) => spread.superseded(),
                _ => spread.not_kept(),
            }
        }
        self.drive(now, id, query);
    }

    /// A call takes long.
    pub(super) fn slowed(&mut self, now: Now, id: QueryId, key: &Key) {
        let Some(mut query) = self.queries.remove(&id) else { return };
        if let Stage::Looking(lookup) = &mut query.stage {
            lookup.slow(key);
        }
        self.drive(now, id, query);
    }

    /// A job has taken too long: it ends with what it has.
    pub(super) fn time_out(&mut self, now: Now, id: QueryId) {
        if let Some(query) = self.queries.remove(&id) {
            self.counts.timed_out += 1;
            self.finish(now, id, query, None);
        }
    }

    /// Gives queries that wait for a place among the calls what there is.
    pub(super) fn feed(&mut self, now: Now) {
        while self.calls.len() < MAX_CALLS {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(mut query) = self.queries.remove(&id) {
                query.starved = false;
                self.drive(now, id, query);
            }
        }
    }

    /// Ends a search for providers now, with those it has found so far; any other job goes on.
    pub fn conclude(&mut self, now: Now, query: QueryId) {
        let is_search = |query: &&Query| matches!(query.goal, Goal::Providers { .. });
        if self.queries.get(&query).filter(is_search).is_some()
            && let Some(search) = self.queries.remove(&query)
        {
            self.finish(now, query, search, None);
        }
    }

    /// Ends a job.
    fn finish(&mut self, now: Now, id: QueryId, mut query: Query, outcome: Option<Outcome>) {
        let outcome = outcome.unwrap_or_else(|| {
            self.repair(now, &query);
            match (&query.goal, &query.stage) {
                (Goal::Look, Stage::Looking(lookup)) => {
                    let check = Self::checker(&self.table, &self.keys, now);
                    let near = lookup.closest(K).into_iter().filter(|contact| check(contact).is_ok());
                    Outcome::Looked(near.map(|contact| contact.record).collect())
                }
                _ => query.goal.outcome(&query.stage),
            }
        });
        self.forget_ended();
        let copies = if let Outcome::Stored { copies } = outcome { copies } else { 0 };
        let at = self.moment(now);
        match &query.goal {
            // A record of another that is kept here says nothing of an own one.
            Goal::Put { .. } if query.work == Work::Copy => {}
            Goal::Put { record, .. } => {
                // Where a newer one is there is nothing to be tried again soon.
                let kept = copies > 0 || outcome == Outcome::Failed(Failed::Superseded);
                self.own.was_put(&record.key(), kept, at);
            }
            Goal::Provide { key } => self.own.was_provided(key, copies > 0, at),
            Goal::Join => self.joined(now),
            _ => {}
        }
        match query.work {
            Work::Job => self.say_done(id, outcome),
            Work::Upkeep => self.upkeep.running -= 1,
            Work::Copy => self.upkeep.copying -= 1,
        }
    }

    /// Gives a record that was found to those that ought to have it.
    fn repair(&mut self, now: Now, query: &Query) {
        let (Goal::Get(holders), Stage::Looking(lookup)) = (&query.goal, &query.stage) else { return };
        let Some(best) = &holders.best else { return };
        let left = seconds(best.lifetime(now)).min(CACHED_LEFT);
        for contact in holders.to_repair(&lookup.target, REPAIRS) {
            if self.calls.len() >= MAX_CALLS {
                break;
            }
            let told = if let Record::Address(a) = best { a.zone().is_told_to(contact.record.zone()) } else { true };
            if told {
                self.upkeep.checks += 1;
                self.call(now, contact, Purpose::Handover, Ask::Pass { record: best.clone(), left });
            }
        }
    }

    fn say_done(&mut self, query: QueryId, outcome: Outcome) {
        self.outputs.push_back(Output::Done { query, outcome });
    }

    /// When to put something again that was put just now: a little earlier or later for each, so that a restart of many does
    /// not make a wave every hour.
    pub(super) fn again(&mut self, at: Moment) -> Moment {
        use rand::RngExt;
        let seconds = self.config.republish.mul_f64(self.random.random_range(0.9..1.1)).as_secs();
        Moment(at.0.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}

/// Lifetimes are at most a day.
pub(super) fn seconds(long: u64) -> u32 {
    u32::try_from(long).unwrap_or(u32::MAX)
}

/// This node does not ask that one to keep it.
struct Refused;

/// What an answer has besides contacts.
enum Found {
    Nothing,
    Record(Option<Record>),
    Providers(Vec<ProviderRecord>),
}

/// What a query does next.
enum Move {
    Ask(Contact),
    Put(Contact),
    Forged(Contact),
    Looked,
    Finish,
    Starve,
    Wait,
}

impl Move {
    fn of(step: Step) -> Self {
        match step {
            Step::Ask(contact) => Self::Ask(contact),
            Step::Forged(contact) => Self::Forged(contact),
            Step::Wait => Self::Wait,
            Step::Done => Self::Looked,
        }
    }
}
