//! Whom to dial, whom to let in, whom to let go: all decisions about which peers a node has. Pure, and the same in a node
//! and in the simulator: time comes with each call, randomness from a seed, and what to do comes out of [`Manager::poll`].
//!
//! ```text
//!  found, operator, score ──┐                      ┌──► Dial: whom the book says is best now
//!  admit ── connected ──────┼──► Manager ── poll ──┤
//!  dial_ended ─ disconnected┘    (with its Book)   └──► Close: let go, or banned
//! ```
//!
//! **Marks.** Below `low` connections more are dialed, and as long as fewer than half of `low` were dialed by this node, so
//! that strangers who dial it cannot surround it. Above `high` the least useful are let go. Between the two nothing is
//! dialed but what somebody asks for; connections nobody used for long are let go.
//!
//! **A full node** takes an incoming connection only in place of a worse one: the one of the lowest score that is
//! neither protected, nor in use, nor younger than the grace, if the newcomer's score is higher still. Others are refused as
//! `busy`; they learn of further nodes over a query connection (its own protocol, with limits of its own), which a full
//! node answers too.
//!
//! **Connections somebody asked for** (a plugin, the operator) are dialed and kept whatever the marks and the limits of a
//! place say, up to the table's size: they count, and others go for them.

mod admission;
mod decision;
mod held;
mod maintenance;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::book::{Book, Entry};
use super::candidates::Shortlist;
use super::caps::Counts;
use super::score::ScoreEvent;
use super::watermarks::Marks;
use crate::now::Now;
use crate::source::Source;
pub use decision::{Action, Ending, Parting, Refusal, Tallies};

/// Wait before the first new dial of a peer that was lost, and after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Wait after many failures: a peer that comes back is found within this time, and costs a packet or two each.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a full node does not look again for a connection worth less than a newcomer.
const FLOOR: Duration = Duration::from_secs(1);
/// How long a node is left alone that has no place for this one: it would cost both a handshake each time.
const FULL: Duration = Duration::from_secs(300);
/// How long a peer is left alone that one of both let go.
const REST: Duration = Duration::from_secs(600);
/// Failures in a row after which a node that never answered is forgotten.
const HOPELESS: u32 = 6;
/// Dials under way beyond which nobody on the local network is dialed to see whether its announcement is true: anybody
/// there can announce any number of nodes. Those announced again later are.
const MAX_FOUND_DIALS: usize = 32;

/// A connection that is kept.
#[derive(Debug, Clone, Copy)]
struct Held {
    ip: IpAddr,
    source: Source,
    outgoing: bool,
    since: Instant,
    used: Instant,
    /// Its end was asked for.
    closing: bool,
}

/// A dial under way.
#[derive(Debug, Clone, Copy)]
struct Dial {
    /// Nobody asked for it.
    own: bool,
    ip: Option<IpAddr>,
    source: Source,
}

/// See the module.
#[derive(Debug)]
pub struct Manager {
    me: NodeId,
    marks: Marks,
    book: Book,
    links: BTreeMap<NodeId, Held>,
    dials: BTreeMap<NodeId, Dial>,
    /// Incoming connections let in that are not yet kept, by admission.
    entering: BTreeMap<u64, (NodeId, IpAddr)>,
    admissions: u64,
    /// How many users each peer has; as many as there are users.
    kept: BTreeMap<NodeId, usize>,
    /// Of `links` and `entering`.
    counts: Counts,
    actions: VecDeque<Action>,
    /// Who comes next, of the last look at the book.
    shortlist: Shortlist,
    /// The least worth of a connection that may go for a newcomer, and until when to believe that: a full node is dialed
    /// often.
    floor: Option<(f64, Instant)>,
    /// When to look for something to do.
    wake: Option<Instant>,
    /// Entries that changed and are worth writing; bounded by the book.
    changed: BTreeSet<NodeId>,
    rng: StdRng,
    tallies: Tallies,
}

impl Manager {
    /// For node `me`, with what is remembered in `book`.
    pub fn new(me: NodeId, marks: Marks, book: Book, seed: [u8; 32], now: Now) -> Self {
        Self {
            me,
            marks,
            book,
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            entering: BTreeMap::new(),
            admissions: 0,
            kept: BTreeMap::new(),
            counts: Counts::default(),
            actions: VecDeque::new(),
            shortlist: Shortlist::default(),
            floor: None,
            wake: Some(now.at),
            changed: BTreeSet::new(),
            rng: StdRng::from_seed(seed),
            tallies: Tallies::default(),
        }
    }

    // What is known.

    /// The numbers it goes by.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Everybody known.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Everybody known, to be changed by those who know better.
    pub fn book_mut(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Connections held.
    pub fn connected(&self) -> usize {
        self.links.values().filter(|held| !held.closing).count()
    }

    /// Of those, the ones this node dialed.
    pub fn chosen(&self) -> usize {
        self.links.values().filter(|held| !held.closing && held.outgoing).count()
    }

    /// What was decided how often.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// What `node` is worth, with its present connection.
    pub fn worth(&self, node: &NodeId, now: Now) -> f64 {
        let uptime = self.links.get(node).map_or(Duration::ZERO, |held| now.at.saturating_duration_since(held.since));
        self.book.get(node).map_or(0.0, |entry| entry.standing.worth(now.unix, uptime))
    }

    /// Whether anything is to be had to do with `node` at all.
    pub fn check(&self, node: &NodeId, now: Now) -> Result<(), Refusal> {
        match self.book.get(node) {
            Some(entry) if entry.blocked => Err(Refusal::Blocked),
            Some(entry) => entry.banned_for(now.unix).map_or(Ok(()), |seconds| Err(Refusal::Banned { seconds })),
            None => Ok(()),
        }
    }

    /// Entries worth writing since this was asked last: present state, or `None` for those that are gone.
    pub fn take_changed(&mut self) -> Vec<(NodeId, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|node| (node, self.book.get(&node).cloned())).collect()
    }

    /// Marks what connected peers have earned, and that they were here until now, as worth writing.
    pub fn checkpoint(&mut self, now: Now) {
        for node in self.links.keys() {
            self.book.seen(node, true, now.unix);
        }
        self.changed.extend(self.links.keys());
    }

    // What happens.

    /// `node` may be at `addresses`, as `source` says. Nodes announced on the local network are dialed to see whether it
    /// is true; others are candidates. Returns whether it was news.
    pub fn found(&mut self, now: Now, node: NodeId, addresses: &[SocketAddr], source: Source) -> bool {
        if node == self.me {
            return false;
        }
        let mut new = false;
        for address in addresses {
            new |= self.book.learn(node, *address, source);
        }
        if !new {
            return false;
        }
        self.wake = Some(now.at);
        if source != Source::Lan {
            return true;
        }
        let known = self.book.known(&node).map(|entry| {
            // It moved, or is back: what was before does not count.
            (entry.failures, entry.due) = (0, None);
            entry.seen.is_some()
        });
        let verify = known == Some(false) && self.connected() < self.marks.high && self.dials.len() < MAX_FOUND_DIALS;
        if verify && self.check(&node, now).is_ok() && !self.links.contains_key(&node) {
            self.dial(node, source);
        }
        true
    }

    /// The operator protects `node`, or stops it. `false`: too many are.
    pub fn protect(&mut self, now: Now, node: NodeId, protected: bool) -> bool {
        self.shortlist.clear();
        self.wake = Some(now.at);
        self.book.set_protected(node, protected)
    }

    /// The operator lets `node` back: neither blocked nor banned.
    pub fn pardon(&mut self, now: Now, node: NodeId) {
        self.book.set_blocked(node, false);
        if let Some(entry) = self.book.known(&node) {
            entry.standing.pardon();
            entry.due = None;
        }
        self.wake = Some(now.at);
    }

    /// Somebody dials `node`, which they asked for.
    pub fn dialing(&mut self, node: NodeId) {
        self.dials.entry(node).or_insert(Dial { own: false, ip: None, source: Source::Ticket });
    }

    /// A dial is over; `connected`: there is a connection with `node` now.
    pub fn dial_ended(&mut self, now: Now, node: &NodeId, connected: bool) {
        self.dials.remove(node);
        self.wake = Some(now.at);
        if connected {
            return;
        }
        let jitter = self.jitter();
        let Some(entry) = self.book.known(node) else { return };
        let wait = FIRST.saturating_mul(1 << entry.failures.min(16)).min(LONGEST);
        entry.failures = entry.failures.saturating_add(1);
        let due = now.at + wait.mul_f64(0.5 + jitter);
        entry.due = Some(entry.due.map_or(due, |later| later.max(due)));
        if entry.failures >= HOPELESS {
            self.book.drop_stranger(node);
        }
    }

    /// `node`, which was dialed, has no place for this one. To be told before the dial's end.
    pub fn was_full(&mut self, now: Now, node: &NodeId) {
        let jitter = self.jitter();
        if let Some(entry) = self.book.known(node) {
            entry.due = Some(now.at + FULL.mul_f64(0.5 + jitter));
        }
    }

    /// `node` did something; `true` when it is banned for it.
    pub fn score(&mut self, now: Now, node: NodeId, event: ScoreEvent) -> bool {
        self.floor = None;
        let Some(standing) = self.book.standing(node) else { return false };
        if !standing.count(now.unix, event) || self.book.is_protected(&node) {
            return false;
        }
        self.tallies.banned += 1;
        self.changed.insert(node);
        if self.links.contains_key(&node) {
            self.close(node, Parting::Banned);
        }
        true
    }
}
