//! Lists of providers: which nodes offer what a key stands for. Each provider lists only itself, so each is charged for
//! its own entries. The subnet that it asks from counts, not those that its record claims: anybody can claim any.

use std::collections::BTreeMap;

use super::key::{Distance, Key};
use super::limits::{MAX_PROVIDERS, MAX_PROVIDERS_OF_KEY, NODE_PROVIDED, PROVIDERS_PER_SUBNET, SUBNET_PROVIDED};
use super::quota::{Amount, Payer, Quota, Usage};
use super::record::ProviderRecord;
use super::time::Moment;
use super::wire::Refusal;
use crate::address::{Subnet, Zone};

#[derive(Debug)]
struct Listed {
    provider: ProviderRecord,
    until: Moment,
    payer: Payer,
}

/// All lists, sorted by distance from this node. Within a list the newest entry is last.
#[derive(Debug)]
pub(super) struct Providers {
    own: Key,
    lists: BTreeMap<Distance, Vec<Listed>>,
    usage: Usage,
    guarded: bool,
    /// Entries removed because others needed the room.
    pub(super) evicted: u64,
}

impl Providers {
    /// Empty lists of the node with the key `own`. `guarded` turns on the quotas per node and subnet; the total limit
    /// always holds.
    pub(super) fn new(own: Key, guarded: bool) -> Self {
        let any = usize::MAX;
        let quota = Quota {
            node: Amount { count: NODE_PROVIDED, bytes: any },
            subnet: Amount { count: SUBNET_PROVIDED, bytes: any },
            total: Amount { count: MAX_PROVIDERS, bytes: any },
        };
        Self { own, lists: BTreeMap::new(), usage: Usage::new(quota), guarded, evicted: 0 }
    }

    /// Whether a provider would be listed, or why it is refused. Decided before its signatures are verified.
    pub(super) fn would_take(&self, provider: &ProviderRecord, payer: &Payer) -> Result<(), Refusal> {
        let distance = self.own.distance(&provider.key);
        let list = self.lists.get(&distance).map_or(&[][..], Vec::as_slice);
        let listed = |other: &&Listed| other.provider.address.node == provider.address.node;
        let known = list.iter().find(listed);
        if known.is_some_and(|known| known.provider.expires > provider.expires) {
            return Err(Refusal::Superseded);
        }
        if !self.guarded || known.is_some_and(|known| known.payer == *payer) {
            return Ok(()); // of the same node and subnet, so it is charged already
        }
        let near = list.iter().filter(|other| other.payer.subnet == payer.subnet).count();
        let crowded = payer.subnet.is_some() && near >= PROVIDERS_PER_SUBNET;
        if crowded || !self.usage.may_add(Some(payer), 0) {
            return Err(Refusal::Quota);
        }
        if known.is_some() {
            return Ok(());
        }
        let furthest = self.lists.last_key_value().map(|(distance, _)| *distance);
        if !self.usage.has_room(0) && list.is_empty() && furthest.is_none_or(|furthest| furthest <= distance) {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Lists a verified provider that [`Self::would_take`] accepts. In a full list the oldest entry of the subnet with
    /// the most entries is evicted: an attacker with few subnets evicts its own.
    pub(super) fn put(&mut self, provider: ProviderRecord, payer: Payer, until: Moment) {
        let distance = self.own.distance(&provider.key);
        let list = self.lists.entry(distance).or_default();
        let same = list.iter().position(|other| other.provider.address.node == provider.address.node);
        let full = list.len() >= MAX_PROVIDERS_OF_KEY;
        let guarded = self.guarded;
        let leaves = || if guarded { oldest_of_largest_subnet(list) } else { 0 };
        if let Some(at) = same.or_else(|| full.then(leaves)) {
            let old = list.remove(at);
            self.usage.remove(Some(&old.payer), 0);
            self.evicted += u64::from(same.is_none());
        }
        list.push(Listed { provider, until, payer });
        self.usage.add(Some(&payer), 0);
        while self.usage.total().count > MAX_PROVIDERS {
            self.drop_furthest();
        }
    }

    fn drop_furthest(&mut self) {
        let Some(mut furthest) = self.lists.last_entry() else { return };
        let list = furthest.get_mut();
        let dropped = list.remove(if self.guarded { oldest_of_largest_subnet(list) } else { 0 });
        if furthest.get().is_empty() {
            furthest.remove();
        }
        self.usage.remove(Some(&dropped.payer), 0);
        self.evicted += 1;
    }

    /// The entries of a key that may be disclosed to an asker in `zone`, newest first.
    pub(super) fn find(&self, key: &Key, zone: Zone, at: Moment) -> Vec<ProviderRecord> {
        let list = self.lists.get(&self.own.distance(key)).map_or(&[][..], Vec::as_slice);
        let told = |listed: &&Listed| listed.until > at && listed.provider.address.zone().is_told_to(zone);
        list.iter().rev().filter(told).map(|listed| listed.provider.clone()).collect()
    }

    /// Removes expired entries.
    pub(super) fn expire(&mut self, at: Moment) {
        let usage = &mut self.usage;
        self.lists.retain(|_, list| {
            list.retain(|listed| {
                let stays = listed.until > at;
                if !stays {
                    usage.remove(Some(&listed.payer), 0);
                }
                stays
            });
            !list.is_empty()
        });
    }

    /// Entries in all lists.
    pub(super) fn len(&self) -> usize {
        self.usage.total().count
    }
}

/// The index, in a list that is not empty, of the oldest entry of the subnet with the most entries; of equal subnets,
/// the one with the oldest entry.
fn oldest_of_largest_subnet(list: &[Listed]) -> usize {
    let mut counts: BTreeMap<Option<Subnet>, usize> = BTreeMap::new();
    list.iter().for_each(|listed| *counts.entry(listed.payer.subnet).or_default() += 1);
    let most = counts.values().max();
    list.iter().position(|listed| counts.get(&listed.payer.subnet) == most).unwrap_or(0)
}
