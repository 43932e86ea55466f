//! Nodes that this one met by itself, as peers or through peers, and not through contacts of its table. Its own lookups begin
//! at some of them too: contacts that tell of each other only must not be all it ever asks.

use std::collections::VecDeque;

use rand::Rng;
use rand::seq::index;

use super::contact::Contact;
use super::key::Key;
use super::limits::{MAX_MET, MET_PER_SUBNET};
use crate::address::{Subnet, Zone};

/// The last [`MAX_MET`] of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Met(VecDeque<Contact>);

impl Met {
    /// Adds one, or what it says of itself now. Of a public network with [`MET_PER_SUBNET`] of them the oldest makes room:
    /// whoever connects again and again under new names replaces only its own.
    pub(super) fn add(&mut self, contact: Contact) {
        self.remove(&contact.key);
        let near = |met: &Contact| public(met).any(|subnet| public(&contact).any(|own| own == subnet));
        let crowded = self.0.iter().filter(|met| near(met)).count() >= MET_PER_SUBNET;
        if crowded && let Some(oldest) = self.0.iter().position(near) {
            self.0.remove(oldest);
        } else if self.0.len() == MAX_MET {
            self.0.pop_front();
        }
        self.0.push_back(contact);
    }

    /// Forgets one: it does not answer.
    pub(super) fn remove(&mut self, key: &Key) {
        self.0.retain(|met| met.key != *key);
    }

    /// Some of them, at random.
    pub(super) fn some(&self, count: usize, random: &mut impl Rng) -> Vec<Contact> {
        let chosen = index::sample(random, self.0.len(), count.min(self.0.len()));
        chosen.into_iter().filter_map(|at| self.0.get(at).cloned()).collect()
    }
}

/// The public networks that its record names.
fn public(contact: &Contact) -> impl Iterator<Item = Subnet> {
    let ips = contact.record.addresses.iter().map(|address| address.ip());
    ips.filter(|ip| Zone::of(*ip) == Zone::Public).map(Subnet::of)
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

    fn contact(number: u8, ip: [u8; 4]) -> Contact {
        let signature = Signature([0; 64]);
        let record = AddressRecord {
            node: NodeId([number; 32]),
            addresses: vec![(ip, 1).into()],
            sequence: 0,
            time: 0,
            signature,
        };
        Contact::new(Arc::new(record))
    }

    #[test]
    fn the_last_few_are_kept_each_once_until_they_do_not_answer() {
        let (mut met, mut random) = (Met::default(), StdRng::from_seed([7; 32]));
        assert!(met.some(8, &mut random).is_empty());
        for number in (0..40).chain([39, 39]) {
            met.add(contact(number, [9, 0, number, 1]));
        }
        let mut all: Vec<u8> = met.some(100, &mut random).iter().map(|contact| contact.node().0[0]).collect();
        all.sort_unstable();
        assert_eq!(all, (8..40).collect::<Vec<u8>>());
        met.remove(&contact(20, [9, 0, 20, 1]).key);
        assert!(met.some(100, &mut random).iter().all(|contact| contact.node().0[0] != 20));
        assert_eq!(met.some(8, &mut random).len(), 8);
    }

    #[test]
    fn one_network_replaces_only_its_own() {
        let (mut met, mut random) = (Met::default(), StdRng::from_seed([7; 32]));
        for number in 0..20 {
            met.add(contact(number, [9, 0, number, 1]));
        }
        for number in 100..200 {
            met.add(contact(number, [66, 6, 6, number]));
        }
        let mut all: Vec<u8> = met.some(100, &mut random).iter().map(|contact| contact.node().0[0]).collect();
        all.sort_unstable();
        assert_eq!(all, (0..20).chain([198, 199]).collect::<Vec<u8>>());
        let mut lan = Met::default();
        (0..10).for_each(|number| lan.add(contact(number, [192, 168, 0, number])));
        assert_eq!(lan.some(100, &mut random).len(), 10, "a local network is not limited");
    }
}
