//! The steps of a job: through its lookup, and from there to storing something.

use std::net::IpAddr;
use std::sync::Arc;

use super::bucket::Entry;
use super::calls::Purpose;
use super::contact::Contact;
use super::ingest::Found;
use super::key::Key;
use super::limits::{DEPTH_GET, DEPTH_PUT, DEPTH_REFRESH, K, MAX_CALLS, MAX_PUT_TRIES, MET_SEEDS, QUORUM};
use super::lookup::{Lookup, Plan, Step};
use super::operation::{Goal, Query, Spread, Stage, Work};
use super::rate::charged_subnet;
use super::store_requests::Refused;
use super::wire::{Ask, Response};
use super::{CallFailed, Dht, Failed, Lie, Outcome, QueryId};
use crate::now::Now;

impl Dht {
    /// Starts a lookup; without any node to start at, the job fails at once.
    pub(super) fn start_lookup(&mut self, now: Now, id: QueryId, target: Key, goal: Goal, upkeep: bool) {
        let seeds = self.seeds(now, &target, K);
        let work = if upkeep { Work::Upkeep } else { Work::Job };
        if seeds.is_empty() {
            let query = Query { goal, stage: Stage::Putting(Spread::new(Vec::new(), 0)), work, starved: false };
            return self.finish(now, id, query, Some(Outcome::Failed(Failed::NoContacts)));
        }
        self.table.note_lookup(&target, self.moment(now));
        let depth = match goal {
            Goal::Locate { .. } | Goal::Get(_) | Goal::Providers { .. } => DEPTH_GET,
            Goal::Put { .. } | Goal::Provide { .. } | Goal::Join => DEPTH_PUT,
            Goal::Look => DEPTH_REFRESH,
        };
        // A search starts at the closest contacts, and elsewhere only if they do not suffice: its result is checked
        // anyway. A lookup to store something, to join or to refresh a range must find the right nodes at the first
        // try, so it starts at peers, too.
        let far = match goal {
            Goal::Locate { .. } | Goal::Get(_) | Goal::Providers { .. } => Vec::new(),
            Goal::Put { .. } | Goal::Provide { .. } | Goal::Look | Goal::Join => self.met_seeds(now),
        };
        let lookup = Lookup::new(target, Plan { depth, guarded: self.config.defences }, seeds, far);
        let query = Query { goal, stage: Stage::Looking(lookup), work, starved: false };
        self.ends_later(now, id);
        self.drive(now, id, query);
    }

    /// At most `count` contacts to start a lookup at: those that answered their last call. If they are fewer than
    /// [`QUORUM`], then also those that failed, and nodes that wait for their first call.
    pub(super) fn seeds(&self, now: Now, target: &Key, count: usize) -> Vec<Contact> {
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

    /// Some peers that sent their own records, to start other paths at.
    fn met_seeds(&mut self, now: Now) -> Vec<Contact> {
        if !self.config.defences {
            return Vec::new();
        }
        let met = self.met.some(MET_SEEDS, &mut self.random);
        let check = Self::checker(&self.table, &self.keys, now);
        met.into_iter().filter(|contact| check(contact).is_ok()).collect()
    }

    /// Advances a query until it must wait or has ended; keeps it unless it has ended.
    pub(super) fn drive(&mut self, now: Now, id: QueryId, mut query: Query) {
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
                    // A node that must not get the request counts as one that refused: the next one is asked.
                    if let Err(Refused) = self.put_to(now, id, &query, contact)
                        && let Stage::Putting(spread) = &mut query.stage
                    {
                        spread.not_kept();
                    }
                }
                Move::Forged(contact) => self.lied(contact.node(), Lie::Contact),
                Move::PathsEnded => {
                    if !self.extend_or_store(now, &mut query) {
                        return self.finish(now, id, query, None);
                    }
                }
                Move::Finish => return self.finish(now, id, query, None),
                Move::Starve => {
                    // In line once only: otherwise every answer to a waiting query would add it again.
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

    /// All paths have ended: extends the lookup or turns to storing. Returns `false` when the query has ended.
    fn extend_or_store(&mut self, now: Now, query: &mut Query) -> bool {
        let Stage::Looking(lookup) = &mut query.stage else { return false };
        let astray = self.config.defences && self.table.spacing().is_some_and(|spacing| lookup.is_sparse(spacing));
        if query.goal.found_nothing() || astray && !matches!(query.goal, Goal::Look) {
            let target = lookup.target;
            let far = self.met_seeds(now);
            // Further contacts than at the start: the paths so far have used up the closest.
            let more = self.table.closest(&target, 4 * K, |entry| entry.failures == 0);
            let contact = |entry: &Entry| {
                let record = entry.records.to_dial(0)?;
                Some(Contact { key: entry.key, record: Arc::clone(record) })
            };
            if lookup.extend(more.into_iter().filter_map(contact).collect(), far) {
                self.counts.extended += 1;
                return true;
            }
        }
        if matches!(query.goal, Goal::Look | Goal::Join) {
            self.meet_found(now, lookup);
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
                // A join looks up the node's own key, under which its address records belong.
                let (at, next) = (self.moment(now), self.next_republish(self.moment(now)));
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

    /// Takes the answer to a step of a lookup, and advances the query.
    pub(super) fn step_answered(
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
            lookup.answered(&contact.key, from.and_then(charged_subnet), contacts.clone(), &check);
        }
        if let Stage::Looking(lookup) = &query.stage
            && self.learn_from(now, &mut query.goal, lookup, contact, found, &contacts)
        {
            return self.finish(now, id, query, None);
        }
        self.drive(now, id, query);
    }

    /// A call is slow: lets its lookup go on without it.
    pub(super) fn step_is_slow(&mut self, now: Now, id: QueryId, key: &Key) {
        let Some(mut query) = self.queries.remove(&id) else { return };
        if let Stage::Looking(lookup) = &mut query.stage {
            lookup.slow(key);
        }
        self.drive(now, id, query);
    }

    /// Advances queries that waited for a free call, first come first.
    pub(super) fn drive_starved(&mut self, now: Now) {
        while self.calls.len() < MAX_CALLS {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(mut query) = self.queries.remove(&id) {
                query.starved = false;
                self.drive(now, id, query);
            }
        }
    }
}

/// The next action of a query.
enum Move {
    Ask(Contact),
    Put(Contact),
    Forged(Contact),
    PathsEnded,
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
            Step::Done => Self::PathsEnded,
        }
    }
}
