//! The peer manager: it decides which peers a node dials, admits and disconnects. Pure, and the same in a node and in
//! the simulator: time is an argument of each call, randomness comes from a random seed, and [`Manager::poll`] returns
//! what to do.
//!
//! ```text
//!  found, operator, score ──┐                      ┌──► Dial: the best candidate of the book
//!  admit ── connected ──────┼──► Manager ── poll ──┤
//!  dial_ended ─ disconnected┘    (with its Book)   └──► Close: crowded, unused or banned
//! ```
//! **Watermarks.** The manager dials while there are fewer than `low` connections, and also while this node has dialed
//! fewer than half of `low`, so that strangers who dial it cannot surround it. Above `high` it disconnects the least
//! useful peers. Between the two it disconnects peers whose connection was unused for long, and dials only protected
//! peers and what somebody asks for.
//!
//! **A full node** accepts an incoming connection only in place of a worse one. It looks at peers that dialed it and
//! are neither protected, nor in use, nor younger than the grace period, and takes the one with the lowest score; the
//! newcomer's score must be higher. It refuses other newcomers with `busy`. These can ask for further nodes on a query
//! connection (a protocol of its own, with its own limits), which a full node answers too.
//!
//! **A connection that a plugin or the operator asks for** is dialed and kept regardless of the watermarks and the
//! limits per host and subnet, up to the size of the connection table. It counts, and others are disconnected for it.

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
pub use decision::{Action, CloseReason, Ending, Refusal, Tallies};

/// First backoff: after a connection was lost, and after the first failed dial.
const FIRST: Duration = Duration::from_secs(1);
/// Longest backoff: a peer that returns is found again within about this time, and each attempt costs a packet or two.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a full node remembers the lowest score that it could replace, before it searches again.
const FLOOR: Duration = Duration::from_secs(1);
/// Wait before a node is dialed again that refused this one as full: each attempt costs both a handshake.
const FULL: Duration = Duration::from_secs(300);
/// Wait before a peer is dialed again that one of both sides disconnected on purpose.
const REST: Duration = Duration::from_secs(600);
/// First backoff after a peer kept a connection with another node of this identity: dialed at once, the peer would drop
/// that one, and so on for ever.
const TAKEN: Duration = Duration::from_secs(30);
/// Upper bound of that backoff, which doubles.
const LONGEST_TAKEN: Duration = Duration::from_secs(3600);
/// Failed dials in a row after which a node that never answered is forgotten.
const HOPELESS: u32 = 6;
/// Most dials in progress at which a node that was announced on the local network is still dialed, to verify the
/// announcement. Anybody there can announce any number of nodes; a node beyond the limit is a candidate like others.
const MAX_FOUND_DIALS: usize = 32;

/// A connection that the tie-break has kept.
#[derive(Debug, Clone, Copy)]
struct Held {
    ip: IpAddr,
    source: Source,
    outgoing: bool,
    since: Instant,
    used: Instant,
    /// Whether the manager has asked to close it.
    closing: bool,
}

/// A dial in progress.
#[derive(Debug, Clone, Copy)]
struct Dial {
    /// Whether the manager began it, rather than a plugin or the operator.
    own: bool,
    ip: Option<IpAddr>,
    source: Source,
}

/// The peer manager of one node.
#[derive(Debug)]
pub struct Manager {
    me: NodeId,
    marks: Marks,
    book: Book,
    links: BTreeMap<NodeId, Held>,
    dials: BTreeMap<NodeId, Dial>,
    /// Incoming connections that are admitted and not yet kept, by admission number.
    entering: BTreeMap<u64, (NodeId, IpAddr)>,
    admissions: u64,
    /// The number of users of each peer that has any ([`Manager::keep`]).
    kept: BTreeMap<NodeId, usize>,
    /// Connections in `links` and `entering` by host and subnet.
    counts: Counts,
    actions: VecDeque<Action>,
    /// The best candidates of the last ranking of the book.
    shortlist: Shortlist,
    /// The lowest worth of a connection that may be replaced by a newcomer's, and until when that counts. Saves a
    /// search for each newcomer.
    floor: Option<(f64, Instant)>,
    /// When [`Manager::poll`] is to search for something to do.
    wake: Option<Instant>,
    /// Entries that changed and are to be written to disk; no more than the book has.
    changed: BTreeSet<NodeId>,
    rng: StdRng,
    tallies: Tallies,
}

impl Manager {
    /// Creates the manager of node `me`, with the remembered peers in `book`.
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

    // Getters.

    /// The watermarks and limits.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The known nodes.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The known nodes, to be changed by callers that learn of addresses, blocks and the like.
    pub fn book_mut(&mut self) -> &mut Book {
        &mut self.book
    }

    /// The number of connections kept.
    pub fn connected(&self) -> usize {
        self.links.values().filter(|held| !held.closing).count()
    }

    /// The number of connections kept that this node dialed.
    pub fn chosen(&self) -> usize {
        self.links.values().filter(|held| !held.closing && held.outgoing).count()
    }

    /// The counters of its decisions.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The score of `node`, with the points for the uptime of its present connection.
    pub fn worth(&self, node: &NodeId, now: Now) -> f64 {
        let uptime = self.links.get(node).map_or(Duration::ZERO, |held| now.at.saturating_duration_since(held.since));
        self.book.get(node).map_or(0.0, |entry| entry.standing.worth(now.unix, uptime))
    }

    /// Fails if `node` is blocked or banned.
    pub fn check(&self, node: &NodeId, now: Now) -> Result<(), Refusal> {
        match self.book.get(node) {
            Some(entry) if entry.blocked => Err(Refusal::Blocked),
            Some(entry) => entry.banned_for(now.unix).map_or(Ok(()), |seconds| Err(Refusal::Banned { seconds })),
            None => Ok(()),
        }
    }

    /// Takes the entries that changed since the last call: their present state, or `None` for those that were removed.
    pub fn take_changed(&mut self) -> Vec<(NodeId, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|node| (node, self.book.get(&node).cloned())).collect()
    }

    /// Updates the entries of connected peers and marks them to be written: they were connected until `now`.
    pub fn checkpoint(&mut self, now: Now) {
        for node in self.links.keys() {
            self.book.seen(node, true, now.unix);
        }
        self.changed.extend(self.links.keys());
    }

    // Events and commands.

    /// `source` named `addresses` of `node`, unverified. A node announced on the local network is dialed at once, to
    /// verify the announcement; others become candidates. Returns whether this was new.
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
            // It moved or is back: earlier failures do not count.
            (entry.failures, entry.due) = (0, None);
            entry.seen.is_some()
        });
        let verify = known == Some(false) && self.connected() < self.marks.high && self.dials.len() < MAX_FOUND_DIALS;
        if verify && self.check(&node, now).is_ok() && !self.links.contains_key(&node) {
            self.dial(node, source);
        }
        true
    }

    /// The operator protects `node`, or ends that. Returns `false` if too many nodes are protected.
    pub fn protect(&mut self, now: Now, node: NodeId, protected: bool) -> bool {
        self.shortlist.clear();
        self.wake = Some(now.at);
        self.book.set_protected(node, protected)
    }

    /// The operator unblocks `node`: lifts its block and its ban.
    pub fn pardon(&mut self, now: Now, node: NodeId) {
        self.book.set_blocked(node, false);
        if let Some(entry) = self.book.known(&node) {
            entry.standing.pardon();
            entry.due = None;
        }
        self.wake = Some(now.at);
    }

    /// A dial of `node` has begun, asked for by a caller or by [`Action::Dial`].
    pub fn dialing(&mut self, node: NodeId) {
        self.dials.entry(node).or_insert(Dial { own: false, ip: None, source: Source::Ticket });
    }

    /// A dial of `node` has ended; `connected` tells whether there is a connection now.
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

    /// `node`, which this one dialed, refused as full. Call it before [`Self::dial_ended`].
    pub fn was_full(&mut self, now: Now, node: &NodeId) {
        let jitter = self.jitter();
        if let Some(entry) = self.book.known(node) {
            entry.due = Some(now.at + FULL.mul_f64(0.5 + jitter));
        }
    }

    /// Adds `event` to the score of `node`; returns `true` if that bans it.
    pub fn score(&mut self, now: Now, node: NodeId, event: ScoreEvent) -> bool {
        self.floor = None;
        let Some(standing) = self.book.standing(node) else { return false };
        if !standing.count(now.unix, event) || self.book.is_protected(&node) {
            return false;
        }
        self.tallies.banned += 1;
        self.changed.insert(node);
        if self.links.contains_key(&node) {
            self.close(node, CloseReason::Banned);
        }
        true
    }
}
