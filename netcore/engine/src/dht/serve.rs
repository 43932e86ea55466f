//! Answers to the questions of other nodes. Cheap checks come first: an asker over its rate limit, or a record that
//! does not belong here, is refused before a signature is verified.

use std::sync::Arc;

use super::bucket::Entry;
use super::contact::Contact;
use super::key::Key;
use super::limits::{K, MAX_PROVIDERS_OF_KEY, PROVIDED_FOR, PUT_COST, TOO_FAR};
use super::quota::{Charge, Payer, Share};
use super::rate::charged_subnet;
use super::record::{ProviderRecord, Record, RecordError};
use super::store::Offer;
use super::time::Moment;
use super::time::seconds;
use super::wire::{Ask, Refusal, Request, Response};
use super::{Asker, Dht, Lie};
use crate::address::{AddressRecord, Zone};
use crate::now::Now;

impl Dht {
    /// Answers a question, or refuses it.
    pub(super) fn serve(&mut self, now: Now, asker: &Asker, request: Request) -> Response {
        if !self.serves() {
            self.counts.refused_not_serving += 1;
            return Response::Refused(Refusal::NotServing);
        }
        let (at, second) = (self.moment(now), self.second(now));
        let cost =
            if matches!(request.ask, Ask::Put { .. } | Ask::Pass { .. } | Ask::Provide { .. }) { PUT_COST } else { 1 };
        if self.config.defences && !self.rates.take(asker, cost, second) {
            self.counts.refused_busy += 1;
            return Response::Refused(Refusal::Busy);
        }
        if let Some(from) = request.from {
            self.introduced(now, asker, from);
        }
        let zone = Zone::of(asker.ip);
        self.counts.answered += 1;
        match request.ask {
            Ask::Ping => Response::Done,
            Ask::FindNode { target } => Response::Nodes { contacts: self.contacts_for(asker, zone, &target) },
            Ask::Get { key } => {
                let record = self.store.find(&key, zone, at).map(|item| item.record.clone());
                Response::Found { record, contacts: self.contacts_for(asker, zone, &key) }
            }
            Ask::Providers { key } => {
                let mut providers = self.providers.find(&key, zone, at);
                if let Some(own) = self.own_provider(now, zone, key) {
                    providers.truncate(MAX_PROVIDERS_OF_KEY - 1);
                    providers.insert(0, own);
                }
                Response::Providers { providers, contacts: self.contacts_for(asker, zone, &key) }
            }
            Ask::Put { record, left } => {
                let kept = self.store_record(now, asker, Share::Own, record, left);
                self.done_or(kept)
            }
            Ask::Pass { record, left } => {
                let kept = self.store_record(now, asker, Share::Passed, record, left);
                self.done_or(kept)
            }
            Ask::Provide { provider } => {
                let listed = self.list_provider(now, asker, zone, provider);
                self.done_or(listed)
            }
        }
    }

    /// This node's own provider record for a key that it provides, if it may be disclosed to an asker in `zone`. In a
    /// small network all holders may have lost their entry by a restart, long before the next republication.
    fn own_provider(&self, now: Now, zone: Zone, key: Key) -> Option<ProviderRecord> {
        let address = self.addresses.told_to(zone).filter(|_| self.own.provides(&key))?;
        Some(ProviderRecord::sign(&*self.keys, key, now.unix + PROVIDED_FOR, Arc::clone(address)))
    }

    /// The contacts closest to a key that answered their last call and may be disclosed to this asker.
    fn contacts_for(&self, asker: &Asker, zone: Zone, target: &Key) -> Vec<Arc<AddressRecord>> {
        let wanted = |entry: &Entry| {
            entry.failures == 0 && entry.records.told_to(zone).is_some_and(|record| record.node != asker.node)
        };
        let closest = self.table.closest(target, K, wanted);
        closest.into_iter().filter_map(|entry| entry.records.told_to(zone)).cloned().collect()
    }

    /// Takes the asker's own address record: it becomes a contact once it has answered there.
    fn introduced(&mut self, now: Now, asker: &Asker, from: Arc<AddressRecord>) {
        if from.node != asker.node {
            self.lied(asker.node, Lie::Contact);
        } else if from.zone().is_told_to(Zone::of(asker.ip)) && from.may_be_at(asker.ip) {
            self.consider(now, Contact::new(from), charged_subnet(asker.ip));
        } else {
            self.counts.implausible += 1;
        }
    }

    /// Stores a record, if it is valid and belongs here.
    fn store_record(
        &mut self,
        now: Now,
        asker: &Asker,
        share: Share,
        record: Record,
        left: u32,
    ) -> Result<(), Refused> {
        let (key, at, zone) = (record.key(), self.moment(now), Zone::of(asker.ip));
        let left = left.min(seconds(record.lifetime(now)));
        let told = if let Record::Address(address) = &record { address.zone().is_told_to(zone) } else { true };
        if left == 0 || !told {
            return Err(Refused::Because(Refusal::Invalid));
        }
        self.is_near(&key)?;
        let until = Moment(at.0.saturating_add(left));
        let replicate_at = self.next_republish(at);
        let charge = Some(Charge { payer: Payer::of(asker), share });
        let offer = Offer { key, record, charge, until, replicate_at };
        if self.store.would_take(&offer)? {
            self.is_valid(asker, offer.record.check(&*self.keys, now))?;
        }
        self.store.put(offer);
        Ok(())
    }

    /// Lists a provider, if it is the asker, valid, and belongs here.
    fn list_provider(&mut self, now: Now, asker: &Asker, zone: Zone, provider: ProviderRecord) -> Result<(), Refused> {
        let left = provider.expires.saturating_sub(now.unix);
        if left == 0 || provider.address.node != asker.node || !provider.address.zone().is_told_to(zone) {
            return Err(Refused::Because(Refusal::Invalid));
        }
        self.is_near(&provider.key)?;
        let payer = Payer::of(asker);
        self.providers.would_take(&provider, &payer)?;
        self.is_valid(asker, provider.check(&*self.keys, now))?;
        let until = Moment(self.moment(now).0.saturating_add(seconds(left)));
        self.providers.put(provider, payer, until);
        Ok(())
    }

    fn is_near(&self, key: &Key) -> Result<(), Refused> {
        let far = self.config.defences && self.table.closer(key, TOO_FAR) >= TOO_FAR;
        if far { Err(Refused::Because(Refusal::TooFar)) } else { Ok(()) }
    }

    fn is_valid(&mut self, asker: &Asker, checked: Result<(), RecordError>) -> Result<(), Refused> {
        checked.map_err(|error| {
            if error.is_lie() {
                self.lied(asker.node, Lie::Record);
            }
            Refused::Because(Refusal::Invalid)
        })
    }

    fn done_or(&mut self, result: Result<(), Refused>) -> Response {
        let Err(Refused::Because(why)) = result else { return Response::Done };
        let counts = &mut self.counts;
        match why {
            Refusal::Quota => counts.refused_quota += 1,
            Refusal::Full => counts.refused_full += 1,
            Refusal::TooFar => counts.refused_far += 1,
            Refusal::Invalid | Refusal::Superseded | Refusal::Busy | Refusal::NotServing => counts.refused_invalid += 1,
        }
        Response::Refused(why)
    }
}

/// Why something is not stored. A type of its own, so that `?` converts a [`Refusal`].
enum Refused {
    Because(Refusal),
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self::Because(why)
    }
}
