//! Requests to store something: at the nodes that a lookup found, or at the closest contacts.

use super::calls::Purpose;
use super::contact::Contact;
use super::key::Key;
use super::limits::{CACHED_LEFT, K, MAX_CALLS, MAX_PUT_TRIES, PROVIDED_FOR, REPAIRS};
use super::operation::{Goal, Query, Spread, Stage, Work};
use super::record::{ProviderRecord, Record};
use super::store::Offer;
use super::time::Moment;
use super::time::seconds;
use super::wire::{Ask, Refusal, Response};
use super::{CallFailed, Dht, QueryId};
use crate::now::Now;

/// This request must not be sent to this node.
pub(super) struct Refused;

impl Dht {
    /// Replicates a record at the contacts closest to it, without a lookup: as one of its holders this node knows them.
    pub(super) fn put_near(&mut self, now: Now, record: Record, left: u32) {
        let id = self.next_query();
        let closest = self.seeds(now, &record.key(), MAX_PUT_TRIES);
        let spread = Spread::new(closest, 1);
        let goal = Goal::Put { record, left };
        self.ends_later(now, id);
        self.drive(now, id, Query { goal, stage: Stage::Putting(spread), work: Work::Copy, starved: false });
    }

    /// Whether this node serves and is itself one of the `K` closest to `target`.
    pub(super) fn is_among(&self, target: &Key, closest: &[Contact]) -> bool {
        let own = self.key.distance(target);
        self.serves() && closest.get(K - 1).is_none_or(|last| own < last.key.distance(target))
    }

    /// Stores this node's own record here, as one of its holders; `false` if the store refuses it.
    pub(super) fn keep_own(&mut self, now: Now, key: Key, record: Record, left: u32) -> bool {
        let at = self.moment(now);
        let until = Moment(at.0.saturating_add(left));
        let offer = Offer { key, record, charge: None, until, replicate_at: self.next_republish(at) };
        let taken = self.store.would_take(&offer).is_ok();
        if taken {
            self.store.put(offer);
        }
        taken
    }

    /// Asks a node to store what a query is about.
    pub(super) fn put_to(&mut self, now: Now, id: QueryId, query: &Query, contact: Contact) -> Result<(), Refused> {
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

    /// Takes the answer to such a request, and advances the query.
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

    /// Hands the record that a search found to nodes that lack it.
    pub(super) fn repair(&mut self, now: Now, query: &Query) {
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

    /// When to republish or replicate something that was stored just now: after 0.9 to 1.1 times
    /// [`super::DhtConfig::republish`], at random. After a restart of many nodes, their records are not all due at the
    /// same moment every hour.
    pub(super) fn next_republish(&mut self, at: Moment) -> Moment {
        use rand::RngExt;
        let seconds = self.config.republish.mul_f64(self.random.random_range(0.9..1.1)).as_secs();
        Moment(at.0.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}
