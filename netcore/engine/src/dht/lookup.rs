//! A lookup: an iterative search for the nodes closest to a key. It follows several paths that share no queried node,
//! so that one liar leads only one path astray; the contacts that a node returns stay on the path that asked it.
//!
//! This file holds the steps; [`shortlist`] keeps the nodes, [`ended`] judges the result.

mod ended;
mod shortlist;

use std::sync::Arc;

use super::contact::Contact;
use super::diversity::Crowd;
use super::key::{Distance, Key};
use super::limits::{K, MAX_ASKED, MAX_LOOKUP_CALLS, MAX_PATHS, MISLED, PATHS, PER_LOOKUP};
use crate::address::{AddressRecord, BadRecord, Subnet};

/// How thoroughly a lookup searches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Closest nodes that must answer on each path.
    pub(super) depth: usize,
    /// Whether the defences are on: several paths, limits per subnet, and no trust in tellers of absent nodes.
    pub(super) guarded: bool,
}

/// A lookup in progress.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) target: Key,
    plan: Plan,
    /// Sorted by distance to the target, closest first.
    nodes: Vec<Node>,
    paths: Vec<Path>,
    asked: usize,
    in_flight: usize,
    /// The path that is asked first at the next step.
    turn: usize,
}

#[derive(Debug, Default)]
struct Path {
    /// The path's nodes that did not fail, by subnet.
    known: Crowd,
    /// Of these, the nodes that were asked by any path.
    asked: Crowd,
    nodes: usize,
}

#[derive(Debug)]
struct Node {
    distance: Distance,
    contact: Contact,
    state: State,
    /// The paths whose shortlist holds it, one bit each.
    paths: u8,
    /// The teller: the node whose answer named it. `None` if this node's own table did, or several nodes.
    teller: Option<Distance>,
    /// The public subnet that introduced it: its teller's when its record was taken. `None` for this node's own table,
    /// and on local networks.
    introducer: Option<Subnet>,
    /// Of the nodes that only it named: how many failed, and how many answered.
    misled: u8,
    led: u8,
    /// Whether its record's signature is verified.
    checked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Asked { path: usize, slow: bool },
    Answered,
    Failed,
}

impl State {
    /// Whether its subnets count towards the limit on nodes to ask.
    fn counts(self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Answered)
    }
}

/// The node whose answer named another.
#[derive(Debug, Clone, Copy)]
struct Teller {
    distance: Distance,
    subnet: Option<Subnet>,
}

/// Checks a node's record. Called as late as possible: it verifies a signature.
pub(super) type Check<'a> = &'a dyn Fn(&Contact) -> Result<(), BadRecord>;

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Contact),
    /// This node returned a forged record.
    Forged(Contact),
    /// Wait for an answer or a timeout.
    Wait,
    /// All paths have ended.
    Done,
}

impl Lookup {
    /// Starts a lookup; [`Self::extend`] says where its paths start.
    pub(super) fn new(target: Key, plan: Plan, near: Vec<Contact>, far: Vec<Contact>) -> Self {
        let mut lookup = Self { target, plan, nodes: Vec::new(), paths: Vec::new(), asked: 0, in_flight: 0, turn: 0 };
        lookup.extend(near, far);
        lookup
    }

    /// Starts further paths. `near` are the closest contacts of this node's own table; `far` are nodes known from
    /// elsewhere, and may be none. With both, one path starts at `near` and the others at `far`, as long as each gets a
    /// node. Returns whether any node is new to this lookup.
    pub(super) fn extend(&mut self, mut near: Vec<Contact>, mut far: Vec<Contact>) -> bool {
        let first = self.paths.len();
        let count = if self.plan.guarded { PATHS.min(MAX_PATHS - first) } else { 1 - first.min(1) };
        near.retain(|seed| self.find(&seed.key).is_none());
        far.retain(|seed| self.find(&seed.key).is_none() && !near.iter().any(|near| near.key == seed.key));
        if count == 0 || near.is_empty() && far.is_empty() {
            return false;
        }
        self.paths.resize_with(first + count, Path::default);
        let paths_near = match (near.is_empty(), far.is_empty()) {
            (true, _) => 0,
            (false, true) => count,
            (false, false) => count - far.len().min(count - 1),
        };
        for (at, seed) in near.into_iter().enumerate() {
            self.insert(first + at % paths_near, seed, None, true, &|_| Ok(()));
        }
        let others = count - paths_near;
        for (at, seed) in far.into_iter().enumerate().filter(|_| others > 0) {
            self.insert(first + paths_near + at % others, seed, None, true, &|_| Ok(()));
        }
        true
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.position(&self.target.distance(key)).ok()
    }

    fn position(&self, distance: &Distance) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.distance.cmp(distance))
    }

    /// Returns what to do next. A node to ask counts as asked from then on.
    pub(super) fn step(&mut self, check: Check<'_>) -> Step {
        let mut open = false;
        for turn in 0..self.paths.len() {
            let path = (self.turn + turn) % self.paths.len();
            let per_path = if self.plan.guarded { 1 } else { PATHS };
            let busy = |node: &&Node| node.state == State::Asked { path, slow: false };
            let waiting = self.nodes.iter().filter(busy).count();
            match self.next_of(path) {
                Next::Ask(_) if self.in_flight >= MAX_LOOKUP_CALLS || waiting >= per_path => open = true,
                Next::Ask(_) if self.asked >= MAX_ASKED => {}
                Next::Ask(at) => {
                    let node = &self.nodes[at];
                    if !node.checked
                        && let Err(error) = check(&node.contact)
                    {
                        self.set_state(at, State::Failed);
                        // A clock that differs, or a record that expired on the way, makes nobody a liar.
                        let forger = if error == BadRecord::Time { None } else { self.forger(at) };
                        return forger.map_or_else(|| self.step(check), Step::Forged);
                    }
                    self.nodes[at].checked = true;
                    self.set_state(at, State::Asked { path, slow: false });
                    self.turn = (path + 1) % self.paths.len();
                    self.asked += 1;
                    self.in_flight += 1;
                    return Step::Ask(self.nodes[at].contact.clone());
                }
                Next::Wait => open = true,
                Next::Nothing => {}
            }
        }
        if open { Step::Wait } else { Step::Done }
    }

    /// The only teller of this forged node, if there is one. Its nodes are not followed any more.
    fn forger(&mut self, at: usize) -> Option<Contact> {
        let forger = self.nodes[at].teller.and_then(|teller| self.position(&teller).ok())?;
        let forger = &mut self.nodes[forger];
        (forger.misled, forger.led) = (u8::MAX, 0);
        Some(forger.contact.clone())
    }

    /// The closest node of a path that may be asked next, if fewer than `depth` closer ones are live.
    fn next_of(&self, path: usize) -> Next {
        let (mut live, mut waiting) = (0, false);
        for (at, node) in self.nodes.iter().enumerate() {
            if node.paths & (1 << path) == 0 || self.is_doubtful(node) {
                continue;
            }
            match node.state {
                State::Failed | State::Asked { slow: true, .. } => continue,
                State::New if !self.may_ask(path, &node.contact.record) => continue,
                State::New => return Next::Ask(at),
                State::Asked { .. } => waiting = true,
                State::Answered => {}
            }
            live += 1;
            if live == self.plan.depth {
                break;
            }
        }
        if waiting { Next::Wait } else { Next::Nothing }
    }

    /// Whether its teller has named too many absent nodes.
    fn is_doubtful(&self, node: &Node) -> bool {
        if !self.plan.guarded || node.state == State::Answered {
            return false;
        }
        let Some(teller) = node.teller.and_then(|teller| self.position(&teller).ok()) else { return false };
        let teller = &self.nodes[teller];
        teller.misled >= MISLED && teller.misled / 2 > teller.led
    }

    /// A node answered from a public `subnet` (`None`: local or unknown) and returned these contacts.
    pub(super) fn answered(&mut self, key: &Key, subnet: Option<Subnet>, contacts: Vec<Contact>, check: Check<'_>) {
        let Some(path) = self.finished(key, State::Answered) else { return };
        let teller = Teller { distance: self.target.distance(key), subnet };
        let (mut told, mut records) = (Crowd::default(), Vec::with_capacity(K));
        for contact in contacts.into_iter().take(K) {
            if self.plan.guarded {
                let others = || records.iter().map(|record: &Arc<AddressRecord>| &**record);
                if !told.admits(&contact.record, PER_LOOKUP, others) {
                    continue;
                }
                told.add(&contact.record);
                records.push(Arc::clone(&contact.record));
            }
            self.insert(path, contact, Some(teller), false, check);
        }
    }

    /// A node did not answer, or refused.
    pub(super) fn failed(&mut self, key: &Key) {
        self.finished(key, State::Failed);
    }

    /// Sets the final state of a node that was asked; returns the path that asked it.
    fn finished(&mut self, key: &Key, state: State) -> Option<usize> {
        let at = self.find(key)?;
        let State::Asked { path, .. } = self.nodes[at].state else { return None };
        self.set_state(at, state);
        self.in_flight -= 1;
        if let Some(teller) = self.nodes[at].teller.and_then(|teller| self.position(&teller).ok()) {
            let teller = &mut self.nodes[teller];
            let count = if state == State::Answered { &mut teller.led } else { &mut teller.misled };
            *count = count.saturating_add(1);
        }
        Some(path)
    }

    /// A call is slow: its path goes on without it.
    pub(super) fn slow(&mut self, key: &Key) {
        if let Some(at) = self.find(key)
            && let State::Asked { slow, .. } = &mut self.nodes[at].state
        {
            *slow = true;
        }
    }
}

enum Next {
    Ask(usize),
    Wait,
    Nothing,
}
