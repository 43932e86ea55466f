//! Nodes that this one met by itself, as peers or through peers, and not through contacts of its table. Its own lookups begin
//! at some of them too: contacts that tell of each other only must not be all it ever asks.

use std::collections::VecDeque;

use rand::Rng;
use rand::seq::index;

use super::contact::Contact;
use super::key::Key;
use super::limits::MAX_MET;

/// The last [`MAX_MET`] of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Met(VecDeque<Contact>);

impl Met {
    /// Adds one, or what it says of itself now.
    pub(super) fn add(&mut self, contact: Contact) {
        self.remove(&contact.key);
        if self.0.len() == MAX_MET {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressRecord;
    use polypeer_ipc_protocol::ids::NodeId;
    use polypeer_ipc_protocol::record::Signature;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::sync::Arc;

    fn contact(number: u8) -> Contact {
        let signature = Signature([0; 64]);
        let record =
            AddressRecord { node: NodeId([number; 32]), addresses: Vec::new(), sequence: 0, time: 0, signature };
        Contact::new(Arc::new(record))
    }

    #[test]
    fn the_last_few_are_kept_each_once_until_they_do_not_answer() {
        let (mut met, mut random) = (Met::default(), StdRng::from_seed([7; 32]));
        assert!(met.some(8, &mut random).is_empty());
        for number in (0..40).chain([39, 39]) {
            met.add(contact(number));
        }
        let mut all: Vec<u8> = met.some(100, &mut random).iter().map(|contact| contact.node().0[0]).collect();
        all.sort_unstable();
        assert_eq!(all, (8..40).collect::<Vec<u8>>());
        met.remove(&contact(20).key);
        assert!(met.some(100, &mut random).iter().all(|contact| contact.node().0[0] != 20));
        assert_eq!(met.some(8, &mut random).len(), 8);
    }
}
