//! Judgement of answers: what each says about the node that gave it, and which of its contacts, records and providers
//! are accepted.

use std::net::IpAddr;
use std::sync::Arc;

use super::calls::{Call, Purpose};
use super::contact::Contact;
use super::limits::{CUT_OFF, K, QUORUM};
use super::lookup::Lookup;
use super::operation::Goal;
use super::record::{ProviderRecord, Record};
use super::table::{Seen, Table};
use super::{CallFailed, Dht, Lie, Refusal, Response};
use crate::address::{AddressRecord, BadRecord, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;

/// What an answer holds besides contacts.
pub(super) enum Found {
    Nothing,
    Record(Option<Record>),
    Providers(Vec<ProviderRecord>),
}

impl Dht {
    /// Updates the table and counters by the outcome of a call: the contact answered, failed, or does not serve.
    pub(super) fn note_outcome(
        &mut self,
        now: Now,
        call: &Call,
        from: Option<IpAddr>,
        answer: &Result<Response, CallFailed>,
    ) {
        let at = self.moment(now);
        match answer {
            Ok(Response::Refused(Refusal::NotServing)) => {
                self.table.remove(&call.to.key);
                self.met.remove(&call.to.key);
            }
            Ok(_) => {
                self.failed_in_a_row = 0;
                self.met.answered(&call.to.key);
                match self.table.answered(&call.to, from, at) {
                    Seen::Entered => self.entered(now, &call.to),
                    Seen::Crowded | Seen::Nowhere => self.counts.crowded += 1,
                    Seen::Known | Seen::Spare => {}
                }
            }
            Err(CallFailed::Unreachable | CallFailed::Malformed) => {
                self.counts.calls_failed += 1;
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                if self.failed_in_a_row >= CUT_OFF {
                    self.table.unchecked(&call.to.key);
                    return;
                }
                if let Purpose::First { introducer } = call.purpose {
                    self.upkeep.candidates.was_wasted(introducer, self.second(now));
                }
                self.met.failed(&call.to.key);
                if let Some(spare) = self.table.failed(&call.to.key) {
                    self.upkeep.candidates.add_first(Contact::new(spare));
                }
            }
            Err(CallFailed::Busy | CallFailed::NotTried) => self.table.unchecked(&call.to.key),
        }
    }

    /// Returns a function that checks a contact's record. It skips the signature if the table holds the same record,
    /// which was verified before it entered.
    pub(super) fn checker<'a>(
        table: &'a Table,
        keys: &'a SharedKeys,
        now: Now,
    ) -> impl Fn(&Contact) -> Result<(), BadRecord> + 'a {
        move |contact| {
            let known = table.entry(&contact.key).and_then(|entry| entry.records.of(contact.record.zone()));
            match known.is_some_and(|known| Arc::ptr_eq(known, &contact.record) || **known == *contact.record) {
                // It may have expired since the table was last cleaned.
                true if contact.record.is_expired(now) => Err(BadRecord::Time),
                true => Ok(()),
                false => contact.record.check(&**keys, now),
            }
        }
    }

    /// Filters the contacts of an answer: keeps those that an honest node in zone `callee` may disclose, and whose time
    /// is valid by this node's clock. If the table holds a record at least as new, that one replaces the contact's.
    pub(super) fn plausible(&mut self, now: Now, callee: Zone, told: Vec<Arc<AddressRecord>>) -> Vec<Contact> {
        let mut contacts = Vec::with_capacity(told.len().min(K));
        for record in told.into_iter().take(K) {
            let zone = record.zone();
            if record.node == self.node {
                continue; // this node may itself be near the key
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

    /// Whether a node in zone `callee` may disclose this record; if not, counts it. Around this node its addresses may
    /// belong to other machines, which would receive this node's packets.
    fn is_told_by(&mut self, callee: Zone, record: &AddressRecord) -> bool {
        let told = record.zone().is_told_to(callee);
        self.counts.implausible += u64::from(!told);
        told
    }

    /// Takes over what an answer holds besides contacts. Returns whether the job has what it needs and ends.
    pub(super) fn learn_from(
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
                    *best = Some(from.record); // the node itself answered, at this address
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
                    // A node that names only itself may keep no list, or has lost it: it does not count towards the
                    // quorum.
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
}
