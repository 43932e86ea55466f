//! One lookup: which node to ask next until those closest to a key are known. It walks along several paths that share no
//! queried node, so that one liar leads only one of them astray; what a node tells goes to the path that asked it.
//!
//! Here is the walk; [`shortlist`] keeps the nodes in mind, [`ended`] says where it led.

mod ended;
mod shortlist;

use std::sync::Arc;

use super::contact::Contact;
use super::diversity::Crowd;
use super::key::{Distance, Key};
use super::limits::{K, MAX_ASKED, MAX_LOOKUP_CALLS, MAX_PATHS, MISLED, PATHS, PER_LOOKUP};
use crate::address::{AddressRecord, BadRecord, Subnet};

/// How a lookup goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many of the closest must have answered on each path.
    pub(super) depth: usize,
    /// Whether it guards against liars: several paths, limits per network, no belief in those who mislead.
    pub(super) guarded: bool,
}

/// A lookup in progress.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) target: Key,
    plan: Plan,
    /// By distance.
    nodes: Vec<Node>,
    paths: Vec<Path>,
    asked: usize,
    in_flight: usize,
    /// The path whose turn it is.
    turn: usize,
}

#[derive(Debug, Default)]
struct Path {
    /// Of its nodes, those that did not fail.
    known: Crowd,
    /// Of these, those that were asked, by whatever path.
    asked: Crowd,
    nodes: usize,
}

#[derive(Debug)]
struct Node {
    distance: Distance,
    contact: Contact,
    state: State,
    /// The paths that know of it, a bit for each.
    paths: u8,
    /// Who told of it: `None` for this node's own table, or for several.
    teller: Option<Distance>,
    /// The public network of who told of it first; `None` for this node's own table, and for local networks.
    bringer: Option<Subnet>,
    /// Of the nodes it told of first, how many failed and how many answered.
    misled: u8,
    led: u8,
    /// Whether the signature of its record is known to be right.
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
    /// Whether its networks count for whom to ask.
    fn counts(self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Answered)
    }
}

/// Who told of a node.
#[derive(Debug, Clone, Copy)]
struct Teller {
    distance: Distance,
    network: Option<Subnet>,
}

/// Whether a record is right; asked only when it matters.
pub(super) type Check<'a> = &'a dyn Fn(&Contact) -> Result<(), BadRecord>;

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask this one.
    Ask(Contact),
    /// Its record is forged, and this node told of it.
    Forged(Contact),
    /// Nothing before something else happens.
    Wait,
    /// All paths have come to their end.
    Done,
}

impl Lookup {
    /// One that begins as [`Self::extend`] goes on.
    pub(super) fn new(target: Key, plan: Plan, near: Vec<Contact>, far: Vec<Contact>) -> Self {
        let mut lookup = Self { target, plan, nodes: Vec::new(), paths: Vec::new(), asked: 0, in_flight: 0, turn: 0 };
        lookup.extend(near, far);
        lookup
    }

    /// Begins further paths, at `near`, the contacts of this node's own table that are closest; if there are any `far`, nodes
    /// known otherwise, only one path begins at the former and the others at these, as far as there are any. Returns whether there was any among them
    /// that was not known, and room for it.
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

    /// What to do next. A node to be asked counts as asked from here on.
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
                        // Nobody is a liar whose clock differs, or who told it in the last second of its life.
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

    /// Who told of this one, if it was one node, is not followed any more.
    fn forger(&mut self, at: usize) -> Option<Contact> {
        let forger = self.nodes[at].teller.and_then(|teller| self.position(&teller).ok())?;
        let forger = &mut self.nodes[forger];
        (forger.misled, forger.led) = (u8::MAX, 0);
        Some(forger.contact.clone())
    }

    /// The closest node of a path that is not asked yet, if it is among the closest that count.
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

    /// Whether who told of it has told of too many that were not there.
    fn is_doubtful(&self, node: &Node) -> bool {
        if !self.plan.guarded || node.state == State::Answered {
            return false;
        }
        let Some(teller) = node.teller.and_then(|teller| self.position(&teller).ok()) else { return false };
        let teller = &self.nodes[teller];
        teller.misled >= MISLED && teller.misled / 2 > teller.led
    }

    /// A node in a public `network` answered, and told of these.
    pub(super) fn answered(&mut self, key: &Key, network: Option<Subnet>, contacts: Vec<Contact>, check: Check<'_>) {
        let Some(path) = self.finished(key, State::Answered) else { return };
        let teller = Teller { distance: self.target.distance(key), network };
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

    /// A node did not answer, or nothing that helps.
    pub(super) fn failed(&mut self, key: &Key) {
        self.finished(key, State::Failed);
    }

    /// Gives a node its last state; returns the path that asked it.
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

    /// A call takes long: its path goes on without it.
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
