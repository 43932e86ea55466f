//! The result of a lookup: the closest nodes, and whether that result is plausible.

use super::{Lookup, Node, State};
use crate::address::Subnet;
use crate::dht::contact::Contact;
use crate::dht::diversity::Crowd;
use crate::dht::key::Key;
use crate::dht::limits::{K, PER_LOOKUP, TOO_SPARSE};

impl Lookup {
    /// Whether nodes are so sparse where the lookup ended that it must have been led astray. `spacing` is the usual
    /// distance from one node to the next, as a share of the key space.
    pub(in crate::dht) fn is_sparse(&self, spacing: f64) -> bool {
        let mut answered = self.nodes.iter().filter(|node| node.state == State::Answered);
        let nth = self.plan.depth.min(8);
        match answered.nth(nth - 1) {
            Some(node) => node.distance.fraction() > TOO_SPARSE * spacing * nth as f64,
            None => false,
        }
    }

    /// How many of these keys are among the `K` closest known nodes that did not fail. Nodes asked early drop out as
    /// closer ones become known.
    pub(in crate::dht) fn among_closest<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> usize {
        let mut live = self.nodes.iter().filter(|node| node.state != State::Failed && !self.is_doubtful(node));
        let Some(last) = live.nth(K - 1).map(|node| node.distance) else { return keys.count() };
        keys.filter(|key| self.target.distance(key) <= last).count()
    }

    /// The `count` closest nodes that did not fail, closest first, few of one subnet. Where nodes of one subnet
    /// compete, those that have answered win over those that only claim to be there.
    pub(in crate::dht) fn closest(&self, count: usize) -> Vec<Contact> {
        self.near(count).into_iter().map(|node| node.contact.clone()).collect()
    }

    /// Of the `count` closest nodes ([`Self::closest`]), those that were never asked, each with the subnet that
    /// introduced it.
    pub(in crate::dht) fn unasked(&self, count: usize) -> Vec<(Contact, Option<Subnet>)> {
        let near = self.near(count).into_iter().filter(|node| node.state == State::New);
        near.map(|node| (node.contact.clone(), node.introducer)).collect()
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
