//! Peers that sent this node their own records. This node's own lookups start at some of them, too: otherwise contacts
//! that are all liars and return only each other would be all it ever asks.

use std::cmp::Reverse;
use std::collections::VecDeque;

use rand::Rng;
use rand::seq::index;

use super::contact::Contact;
use super::key::Key;
use super::limits::{FORGET_AFTER, MAX_MET, MET_PER_SUBNET};
use crate::address::Subnet;
use crate::now::Now;

/// The last [`MAX_MET`] peers, oldest first.
#[derive(Debug, Default)]
pub(super) struct Met(VecDeque<Peer>);

#[derive(Debug)]
struct Peer {
    contact: Contact,
    /// The public subnet of its connection; `None` on local networks.
    subnet: Option<Subnet>,
    /// Calls that failed since it last answered.
    failures: u8,
}

impl Met {
    /// Adds a peer, or updates its record: the most local zone is kept, and in that zone the newest record. A subnet
    /// with [`MET_PER_SUBNET`] peers loses its oldest: a node that connects again and again under new ids replaces only
    /// its own.
    pub(super) fn add(&mut self, mut contact: Contact, subnet: Option<Subnet>) {
        let better = |known: &Contact| {
            let (known, told) = (&known.record, &contact.record);
            (known.zone(), Reverse(known.sequence)) < (told.zone(), Reverse(told.sequence))
        };
        if let Some(known) = self.position(&contact.key).and_then(|at| self.0.remove(at))
            && better(&known.contact)
        {
            contact = known.contact;
        }
        let near = |met: &Peer| subnet.is_some() && met.subnet == subnet;
        if self.0.iter().filter(|met| near(met)).count() >= MET_PER_SUBNET {
            let oldest = self.0.iter().position(near);
            oldest.and_then(|oldest| self.0.remove(oldest));
        } else if self.0.len() == MAX_MET {
            self.0.pop_front();
        }
        self.0.push_back(Peer { contact, subnet, failures: 0 });
    }

    fn position(&self, key: &Key) -> Option<usize> {
        self.0.iter().position(|met| met.contact.key == *key)
    }

    /// The peer answered a call.
    pub(super) fn answered(&mut self, key: &Key) {
        if let Some(at) = self.position(key) {
            self.0[at].failures = 0;
        }
    }

    /// A call to the peer failed; it is removed after [`FORGET_AFTER`] failures in a row, like a contact of the table.
    pub(super) fn failed(&mut self, key: &Key) {
        let Some(at) = self.position(key) else { return };
        self.0[at].failures += 1;
        if self.0[at].failures >= FORGET_AFTER {
            self.0.remove(at);
        }
    }

    /// Removes a peer that does not serve or lied.
    pub(super) fn remove(&mut self, key: &Key) {
        self.0.retain(|met| met.contact.key != *key);
    }

    /// Removes peers whose records have expired.
    pub(super) fn expire(&mut self, now: Now) {
        self.0.retain(|met| !met.contact.record.is_expired(now));
    }

    /// At most `count` peers, drawn at random.
    pub(super) fn some(&self, count: usize, random: &mut impl Rng) -> Vec<Contact> {
        let chosen = index::sample(random, self.0.len(), count.min(self.0.len()));
        chosen.into_iter().filter_map(|at| self.0.get(at).map(|met| met.contact.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressRecord;
    use polypeer_ipc_protocol::ids::NodeId;
    use polypeer_ipc_protocol::record::Signature;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::sync::Arc;

    fn contact(number: u8, ip: [u8; 4], sequence: u64) -> Contact {
        let (node, addresses, signature) = (NodeId([number; 32]), vec![(ip, 1).into()], Signature([0; 64]));
        Contact::new(Arc::new(AddressRecord { node, addresses, sequence, time: 0, signature }))
    }

    fn all(met: &Met) -> Vec<u8> {
        met.0.iter().map(|met| met.contact.node().0[0]).collect()
    }

    #[test]
    fn the_last_few_are_kept_each_once_until_they_do_not_answer() {
        let (mut met, mut random) = (Met::default(), StdRng::from_seed([7; 32]));
        assert!(met.some(8, &mut random).is_empty());
        for number in (0..40).chain([39, 39]) {
            met.add(contact(number, [9, 0, number, 1], 0), Some(Subnet::of([9, 0, number, 1].into())));
        }
        assert_eq!(all(&met), (8..40).collect::<Vec<u8>>());
        assert_eq!(met.some(8, &mut random).len(), 8);
        let there = contact(20, [9, 0, 20, 1], 0).key;
        for _ in 1..FORGET_AFTER {
            met.failed(&there);
        }
        met.answered(&there);
        met.failed(&there);
        assert!(all(&met).contains(&20), "it has answered in between");
        (1..FORGET_AFTER).for_each(|_| met.failed(&there));
        assert!(!all(&met).contains(&20));
    }

    #[test]
    fn one_network_replaces_only_its_own_whatever_it_claims() {
        let mut met = Met::default();
        for number in 0..20 {
            met.add(contact(number, [9, 0, number, 1], 0), Some(Subnet::of([9, 0, number, 1].into())));
        }
        for number in 100..200 {
            met.add(contact(number, [9, 0, number % 20, 2], 0), Some(Subnet::of([66, 6, 6, 6].into())));
        }
        assert_eq!(all(&met), (0..20).chain([198, 199]).collect::<Vec<u8>>());
        let mut lan = Met::default();
        (0..10).for_each(|number| lan.add(contact(number, [192, 168, 0, number], 0), None));
        assert_eq!(all(&lan).len(), 10, "a local network is not limited");
    }

    #[test]
    fn of_one_node_the_most_local_and_newest_record_is_kept() {
        let mut met = Met::default();
        for (ip, sequence) in [([9, 0, 0, 1], 5), ([192, 168, 0, 1], 3), ([9, 0, 0, 1], 6), ([192, 168, 0, 2], 2)] {
            met.add(contact(1, ip, sequence), None);
        }
        let record = &met.0[0].contact.record;
        assert_eq!((met.0.len(), record.addresses[0].ip(), record.sequence), (1, [192, 168, 0, 1].into(), 3));
    }
}
