//! The shortlist of a lookup, for each of its paths: the closest nodes, few of one subnet.

use std::sync::Arc;

use super::{Check, Lookup, Node, State, Teller};
use crate::address::AddressRecord;
use crate::dht::contact::Contact;
use crate::dht::key::Distance;
use crate::dht::limits::{PER_LOOKUP, PER_SHORTLIST, SHORTLIST};

impl Lookup {
    /// Adds a node to a path's shortlist, if there is room.
    pub(super) fn insert(
        &mut self,
        path: usize,
        contact: Contact,
        teller: Option<Teller>,
        checked: bool,
        check: Check<'_>,
    ) {
        let distance = self.target.distance(&contact.key);
        match self.position(&distance) {
            Ok(at) => self.named_again(at, path, contact, teller, check),
            Err(_) if !self.has_room(path, &distance, &contact.record) => {}
            Err(_) => {
                let at = self.position(&distance).unwrap_or_else(|at| at);
                self.paths[path].known.add(&contact.record);
                self.paths[path].nodes += 1;
                let node = Node {
                    distance,
                    contact,
                    state: State::New,
                    paths: 1 << path,
                    teller: teller.map(|teller| teller.distance),
                    introducer: teller.and_then(|teller| teller.subnet),
                    misled: 0,
                    led: 0,
                    checked,
                };
                self.nodes.insert(at, node);
            }
        }
    }

    /// A known node is named again: this path shares it from now on. A record that differs replaces the known one if it
    /// is newer or the known one is unverified, and if its signature is right.
    fn named_again(&mut self, at: usize, path: usize, contact: Contact, teller: Option<Teller>, check: Check<'_>) {
        let record = Arc::clone(&self.nodes[at].contact.record);
        let new_here = self.nodes[at].paths & (1 << path) == 0;
        if new_here && self.paths[path].nodes < SHORTLIST && self.may_know(path, &record) {
            self.nodes[at].paths |= 1 << path;
            self.paths[path].nodes += 1;
            let state = self.nodes[at].state;
            if state != State::Failed {
                self.paths[path].known.add(&record);
            }
            if state.counts() {
                self.paths[path].asked.add(&record);
            }
        }
        let node = &mut self.nodes[at];
        let (known, told) = (&node.contact.record, &contact.record);
        let same = Arc::ptr_eq(known, told) || known == told;
        let usable = matches!(node.state, State::New | State::Failed);
        let better = !node.checked || told.sequence > known.sequence;
        if !same && usable && better && check(&contact).is_ok() {
            for (index, path) in self.paths.iter_mut().enumerate() {
                if node.paths & (1 << index) != 0 {
                    if node.state != State::Failed {
                        path.known.remove(known);
                    }
                    path.known.add(told);
                }
            }
            node.contact = contact;
            node.checked = true;
            node.teller = teller.map(|teller| teller.distance);
            node.introducer = teller.and_then(|teller| teller.subnet);
            node.state = State::New;
        } else if node.teller != teller.map(|teller| teller.distance) {
            node.teller = None;
        }
    }

    /// Whether the limits per subnet allow this record in a path's shortlist.
    fn may_know(&self, path: usize, record: &AddressRecord) -> bool {
        let here = |node: &&Node| node.paths & (1 << path) != 0 && node.state != State::Failed;
        let others = || self.nodes.iter().filter(here).map(|node| &*node.contact.record);
        !self.plan.guarded || self.paths[path].known.admits(record, PER_SHORTLIST, others)
    }

    /// Whether the limits per subnet allow a path to ask this node.
    pub(super) fn may_ask(&self, path: usize, record: &AddressRecord) -> bool {
        let here = |node: &&Node| node.paths & (1 << path) != 0 && node.state.counts();
        let others = || self.nodes.iter().filter(here).map(|node| &*node.contact.record);
        !self.plan.guarded || self.paths[path].asked.admits(record, PER_LOOKUP, others)
    }

    /// Changes the state of a node. While it is being asked and once it has answered, its subnets count on all its
    /// paths. Once it has failed they do not: it has not proved to be in them.
    pub(super) fn set_state(&mut self, at: usize, state: State) {
        let node = &mut self.nodes[at];
        let (before, record) = (node.state, &node.contact.record);
        for (index, path) in self.paths.iter_mut().enumerate() {
            if node.paths & (1 << index) == 0 {
                continue;
            }
            match (before.counts(), state.counts()) {
                (false, true) => path.asked.add(record),
                (true, false) => path.asked.remove(record),
                _ => {}
            }
            if state == State::Failed && before != State::Failed {
                path.known.remove(record);
            }
        }
        node.state = state;
    }

    /// Whether a path's shortlist takes one more node at this distance; at the limit the furthest node that was not
    /// asked makes room if it is further away.
    fn has_room(&mut self, path: usize, distance: &Distance, record: &AddressRecord) -> bool {
        let bit = 1_u8 << path;
        if !self.may_know(path, record) {
            return false;
        }
        if self.paths[path].nodes < SHORTLIST {
            return true;
        }
        let furthest = self.nodes.iter().rposition(|node| node.paths & bit != 0 && node.state == State::New);
        let Some(at) = furthest.filter(|at| self.nodes[*at].distance > *distance) else { return false };
        self.paths[path].known.remove(&self.nodes[at].contact.record);
        self.paths[path].nodes -= 1;
        self.nodes[at].paths &= !bit;
        if self.nodes[at].paths == 0 {
            self.nodes.remove(at);
        }
        true
    }
}
