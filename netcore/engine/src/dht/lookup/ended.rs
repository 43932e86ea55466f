//! Where a lookup has come to: who is closest, and whether that can be true.

use super::{Lookup, Node, State};
use crate::address::Subnet;
use crate::dht::contact::Contact;
use crate::dht::diversity::Crowd;
use crate::dht::key::Key;
use crate::dht::limits::{K, PER_LOOKUP, TOO_SPARSE};

impl Lookup {
    /// Whether nodes are so rare where it ended that it must have been led astray. `spacing` is the usual distance.
    pub(in crate::dht) fn is_sparse(&self, spacing: f64) -> bool {
        let mut answered = self.nodes.iter().filter(|node| node.state == State::Answered);
        let nth = self.plan.depth.min(8);
        match answered.nth(nth - 1) {
            Some(node) => node.distance.fraction() > TOO_SPARSE * spacing * nth as f64,
            None => false,
        }
    }

    /// How many of these are among the `K` closest that are known and did not fail: as nodes that are closer become known,
    /// those asked on the way are no more.
    pub(in crate::dht) fn among_closest<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> usize {
        let mut live = self.nodes.iter().filter(|node| node.state != State::Failed && !self.is_doubtful(node));
        let Some(last) = live.nth(K - 1).map(|node| node.distance) else { return keys.count() };
        keys.filter(|key| self.target.distance(key) <= last).count()
    }

    /// The nodes closest to the target that may be there, closest first, few of one network: those that have answered before
    /// those that only claim to be there.
    pub(in crate::dht) fn closest(&self, count: usize) -> Vec<Contact> {
        self.near(count).into_iter().map(|node| node.contact.clone()).collect()
    }

    /// Of the `count` closest ([`Self::closest`]) those that were only told of, each with the network of who did first.
    pub(in crate::dht) fn unasked(&self, count: usize) -> Vec<(Contact, Option<Subnet>)> {
        let near = self.near(count).into_iter().filter(|node| node.state == State::New);
        near.map(|node| (node.contact.clone(), node.bringer)).collect()
    }

    fn near(&self, count: usize) -> Vec<&Node> {
        let (mut crowd, mut list) = (Crowd::default(), Vec::<&Node>::new());
        let usable = |node: &&Node| node.state != State::Failed && !self.is_doubtful(node);
        let nodes = || self.nodes.iter().filter(usable);
        let (proven, claimed) = (
            nodes().filter(|node| node.state == State::Answered),
            nodes().filter(|node| node.state != State::Answered),
        );
        for node in proven.chain(claimed) {
            let record = &node.contact.record;
            if self.plan.guarded {
                let others = || list.iter().map(|node| &*node.contact.record);
                if !crowd.admits(record, PER_LOOKUP, others) {
                    continue;
                }
                crowd.add(record);
            }
            list.push(node);
        }
        list.sort_unstable_by_key(|node| node.distance);
        list.truncate(count);
        list
    }
}
