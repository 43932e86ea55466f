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
