//! One lookup: which node to ask next until those closest to a key are known. It walks along several paths that share no
//! queried node, so that one liar leads only one of them astray; what a node tells goes to the path that asked it.

use std::sync::Arc;

use super::contact::Contact;
use super::diversity::Crowd;
use super::key::{Distance, Key};
use super::limits::{
    K, MAX_ASKED, MAX_LOOKUP_CALLS, MAX_PATHS, MISLED, PATHS, PER_LOOKUP, PER_SHORTLIST, SHORTLIST, TOO_SPARSE,
};
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

    /// Adds a node to a path.
    fn insert(&mut self, path: usize, contact: Contact, teller: Option<Teller>, checked: bool, check: Check<'_>) {
        let distance = self.target.distance(&contact.key);
        match self.position(&distance) {
            Ok(at) => self.told_again(at, path, contact, teller, check),
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
                    bringer: teller.and_then(|teller| teller.network),
                    misled: 0,
                    led: 0,
                    checked,
                };
                self.nodes.insert(at, node);
            }
        }
    }

    /// A node known already: a record that differs is taken if it is better, which only its signature tells.
    fn told_again(&mut self, at: usize, path: usize, contact: Contact, teller: Option<Teller>, check: Check<'_>) {
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
            node.bringer = teller.and_then(|teller| teller.network);
            node.state = State::New;
        } else if node.teller != teller.map(|teller| teller.distance) {
            node.teller = None;
        }
    }

    /// Whether the limits per network let a path keep this one in mind.
    fn may_know(&self, path: usize, record: &AddressRecord) -> bool {
        let here = |node: &&Node| node.paths & (1 << path) != 0 && node.state != State::Failed;
        let others = || self.nodes.iter().filter(here).map(|node| &*node.contact.record);
        !self.plan.guarded || self.paths[path].known.admits(record, PER_SHORTLIST, others)
    }

    /// Whether the limits per network let a path ask this one.
    fn may_ask(&self, path: usize, record: &AddressRecord) -> bool {
        let here = |node: &&Node| node.paths & (1 << path) != 0 && node.state.counts();
        let others = || self.nodes.iter().filter(here).map(|node| &*node.contact.record);
        !self.plan.guarded || self.paths[path].asked.admits(record, PER_LOOKUP, others)
    }

    /// Gives a node another state. While it is asked, and once it has answered, its networks count on all its paths; once it
    /// has failed they do not, as then nobody is known to be there.
    fn set_state(&mut self, at: usize, state: State) {
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

    /// Whether a path takes one more at this distance; the furthest it has not asked makes room.
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

    /// Whether nodes are so rare where it ended that it must have been led astray. `spacing` is the usual distance.
    pub(super) fn is_sparse(&self, spacing: f64) -> bool {
        let mut answered = self.nodes.iter().filter(|node| node.state == State::Answered);
        let nth = self.plan.depth.min(8);
        match answered.nth(nth - 1) {
            Some(node) => node.distance.fraction() > TOO_SPARSE * spacing * nth as f64,
            None => false,
        }
    }

    /// How many of these are among the `K` closest that are known and did not fail: as nodes that are closer become known,
    /// those asked on the way are no more.
    pub(super) fn among_closest<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> usize {
        let mut live = self.nodes.iter().filter(|node| node.state != State::Failed && !self.is_doubtful(node));
        let Some(last) = live.nth(K - 1).map(|node| node.distance) else { return keys.count() };
        keys.filter(|key| self.target.distance(key) <= last).count()
    }

    /// The nodes closest to the target that may be there, closest first, few of one network: those that have answered before
    /// those that only claim to be there.
    pub(super) fn closest(&self, count: usize) -> Vec<Contact> {
        self.near(count).into_iter().map(|node| node.contact.clone()).collect()
    }

    /// Of the `count` closest ([`Self::closest`]) those that were only told of, each with the network of who did first.
    pub(super) fn unasked(&self, count: usize) -> Vec<(Contact, Option<Subnet>)> {
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

enum Next {
    Ask(usize),
    Wait,
    Nothing,
}
