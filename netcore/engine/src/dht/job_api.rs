//! Jobs: what each begins with, and what is told at its end.

use super::key::Key;
use super::limits::{K, MAX_QUERIES, QUERY_TIMEOUT};
use super::operation::{Goal, Holders, Query, Stage, Work};
use super::record::Record;
use super::time::Moment;
use super::time::seconds;
use super::{Busy, Dht, Failed, Job, Outcome, Output, QueryId};
use crate::address::Zone;
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
            Job::Forget(key) => {
                self.own.forget_record(&key);
                self.say_done(id, Outcome::Stored { copies: 0 });
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

    /// Ends a search for providers now, with those it has found so far; any other job goes on.
    pub fn conclude(&mut self, now: Now, query: QueryId) {
        let is_search = |query: &&Query| matches!(query.goal, Goal::Providers { .. });
        if self.queries.get(&query).filter(is_search).is_some()
            && let Some(search) = self.queries.remove(&query)
        {
            self.finish(now, query, search, None);
        }
    }

    /// A job has taken too long: it ends with what it has.
    pub(super) fn time_out(&mut self, now: Now, id: QueryId) {
        if let Some(query) = self.queries.remove(&id) {
            self.counts.timed_out += 1;
            if let (Goal::Look | Goal::Join, Stage::Looking(lookup)) = (&query.goal, &query.stage) {
                self.meet_found(now, lookup);
            }
            self.finish(now, id, query, None);
        }
    }

    /// Ends a job.
    pub(super) fn finish(&mut self, now: Now, id: QueryId, mut query: Query, outcome: Option<Outcome>) {
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

    pub(super) fn say_done(&mut self, query: QueryId, outcome: Outcome) {
        self.outputs.push_back(Output::Done { query, outcome });
    }

    /// Forgets the ends of queries that have ended.
    pub(super) fn forget_ended(&mut self) {
        while self.ends.front().is_some_and(|(_, query)| !self.queries.contains_key(query)) {
            self.ends.pop_front();
        }
    }

    /// Keeps in mind when a query ends at the latest.
    pub(super) fn ends_later(&mut self, now: Now, query: QueryId) {
        if self.ends.len() > 2 * MAX_QUERIES {
            // Most have ended before the first of them.
            self.ends.retain(|(_, query)| self.queries.contains_key(query));
        }
        self.ends.push_back((now.at + QUERY_TIMEOUT, query));
    }
}
