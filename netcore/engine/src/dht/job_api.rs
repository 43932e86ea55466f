//! Jobs: how each starts, and what it reports at its end.

use super::key::Key;
use super::limits::{K, MAX_QUERIES, QUERY_TIMEOUT};
use super::operation::{Goal, Holders, Query, Stage, Work};
use super::record::Record;
use super::time::Moment;
use super::time::seconds;
use super::{Busy, Dht, Failed, Job, Outcome, Output, QueryId};
use crate::address::Zone;
use crate::now::Now;

/// All zones, the most local first: this node may see all that it holds itself.
const ANY_ZONE: [Zone; 3] = [Zone::Loopback, Zone::Private, Zone::Public];

impl Dht {
    /// Starts a job, or ends it at once if no other node is needed.
    pub(super) fn begin_job(&mut self, now: Now, id: QueryId, job: Job) -> Result<(), Busy> {
        match job {
            Job::Locate(node) if node == self.node => {
                let own = ANY_ZONE.iter().rev().find_map(|zone| self.addresses.of(*zone)).cloned();
                self.say_done(id, Outcome::Located(own));
            }
            Job::Locate(node) => {
                self.start_lookup(now, id, Key::of_node(node), Goal::Locate { node, best: None }, false)
            }
            Job::Look(key) => self.start_lookup(now, id, key, Goal::Look, false),
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
                    None => self.start_lookup(now, id, key, Goal::Get(holders), false),
                }
            }
            Job::Put(record) => {
                if let Err(error) = record.check(&*self.keys, now) {
                    self.say_done(id, Outcome::Failed(Failed::Invalid(error)));
                    return Ok(());
                }
                let (at, left) = (self.moment(now), seconds(record.lifetime(now)));
                let (until, due) = (Moment(at.0.saturating_add(left)), self.next_republish(at));
                if !self.own.keep_record(&record, at, until, due) {
                    self.counts.own_not_kept += 1;
                    self.say_done(id, Outcome::Failed(Failed::TooManyOwn));
                    return Ok(());
                }
                self.start_lookup(now, id, record.key(), Goal::Put { record, left }, false);
            }
            Job::Provide(key) => {
                let at = self.moment(now);
                if !self.own.keep_provided(key, at) {
                    return Err(Busy);
                }
                if self.serves() {
                    self.start_lookup(now, id, key, Goal::Provide { key }, false);
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
                // This node may be one of few holders of the list. It cannot ask itself, so its own entries count
                // first.
                let at = self.moment(now);
                let listed = ANY_ZONE.iter().flat_map(|zone| self.providers.find(&key, *zone, at));
                let others = listed.filter(|provider| provider.address.node != self.node);
                let found = others.map(|provider| (provider.address.node, provider.address)).collect();
                let goal = Goal::Providers { limit, found, holders: Vec::new() };
                self.start_lookup(now, id, key, goal, false);
            }
        }
        Ok(())
    }

    /// Ends a search for providers at once, with those found so far; any other job goes on.
    pub fn conclude(&mut self, now: Now, query: QueryId) {
        let is_search = |query: &&Query| matches!(query.goal, Goal::Providers { .. });
        if self.queries.get(&query).filter(is_search).is_some()
            && let Some(search) = self.queries.remove(&query)
        {
            self.finish(now, query, search, None);
        }
    }

    /// Ends a job by its timeout, with what it has found.
    pub(super) fn time_out(&mut self, now: Now, id: QueryId) {
        if let Some(query) = self.queries.remove(&id) {
            self.counts.timed_out += 1;
            if let (Goal::Look | Goal::Join, Stage::Looking(lookup)) = (&query.goal, &query.stage) {
                self.meet_found(now, lookup);
            }
            self.finish(now, id, query, None);
        }
    }

    /// Ends a job: reports its outcome, and schedules the next republication.
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
            // A copy kept for another owner does not affect this node's own record of that key.
            Goal::Put { .. } if query.work == Work::Copy => {}
            Goal::Put { record, .. } => {
                // Where the holders keep a newer record, a retry soon would change nothing.
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

    /// Removes deadlines of queries that have ended from the front of the queue.
    pub(super) fn forget_ended(&mut self) {
        while self.ends.front().is_some_and(|(_, query)| !self.queries.contains_key(query)) {
            self.ends.pop_front();
        }
    }

    /// Notes the deadline of a query.
    pub(super) fn ends_later(&mut self, now: Now, query: QueryId) {
        if self.ends.len() > 2 * MAX_QUERIES {
            // The first query may outlive most others: they would all stay behind it.
            self.ends.retain(|(_, query)| self.queries.contains_key(query));
        }
        self.ends.push_back((now.at + QUERY_TIMEOUT, query));
    }
}
