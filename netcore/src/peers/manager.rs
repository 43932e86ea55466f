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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::book::{Book, Entry, Source};
use super::candidates::{self, Chosen};
use super::caps::{Counts, Crowded};
use super::marks::Marks;
use super::score::ScoreEvent;
use crate::now::Now;

/// Wait before the first new dial of a peer that was lost, and after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Wait after many failures: a peer that comes back is found within this time, and costs a packet or two each.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a peer is left alone that one of both let go.
const REST: Duration = Duration::from_secs(600);
/// Failures in a row after which a node that never answered is forgotten.
const HOPELESS: u32 = 6;
/// Dials under way beyond which nobody on the local network is dialed to see whether its announcement is true: anybody
/// there can announce any number of nodes. Those announced again later are.
const MAX_FOUND_DIALS: usize = 32;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial, and tell with [`Manager::dial_ended`] how it went.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where, best first.
        addresses: Vec<SocketAddr>,
        /// Who knew.
        source: Source,
    },
    /// End the connection.
    Close {
        /// With whom.
        node: NodeId,
        /// Why.
        why: Parting,
    },
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parting {
    /// There are too many, and others are worth more.
    Crowded,
    /// Nobody used it.
    Unused,
    /// It did too much harm.
    Banned,
}

/// Why a connection is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The operator cut the peer off.
    Blocked,
    /// It did too much harm.
    Banned {
        /// For so long, seconds.
        seconds: u64,
    },
    /// Too many with its host.
    Host,
    /// Too many with its subnet.
    Subnet,
    /// The node is full of better ones.
    Full,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// By accident, or the peer stopped: it is worth trying again.
    Lost,
    /// One of both let the other go.
    LetGo,
}

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

macro_rules! tallies {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What was decided so often.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tallies { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Tallies {
            /// All of them that are not zero, by name.
            pub fn list(&self) -> impl Iterator<Item = (String, u64)> {
                let all = [$((stringify!($name), self.$name),)*];
                all.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count))
            }
        }
    };
}

tallies! {
    /// Connections refused because of a block.
    refused_blocked,
    /// Connections refused because of a ban.
    refused_banned,
    /// Connections refused because there are too many with the same address.
    refused_per_ip,
    /// Connections refused because there are too many with the same subnet.
    refused_per_subnet,
    /// Connections refused because the node is full.
    refused_high_water,
    /// Connections let go for better ones.
    let_go_crowded,
    /// Connections let go because nobody used them.
    let_go_unused,
    /// Bans begun.
    banned,
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
            Some(entry) => banned(entry, now).map_or(Ok(()), |seconds| Err(Refusal::Banned { seconds })),
            None => Ok(()),
        }
    }

    /// Entries worth writing since this was asked last: present state, or `None` for those that are gone.
    pub fn take_changed(&mut self) -> Vec<(NodeId, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|node| (node, self.book.get(&node).cloned())).collect()
    }

    /// Marks what connected peers have earned as worth writing.
    pub fn checkpoint(&mut self, now: Now) {
        let earned = |node: &&NodeId| self.book.get(node).is_some_and(|entry| !entry.standing.is_clean(now.unix));
        self.changed.extend(self.links.keys().filter(earned));
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
        entry.due = Some(now.at + wait.mul_f64(0.5 + jitter));
        if entry.failures >= HOPELESS {
            self.book.drop_stranger(node);
        }
    }

    /// `node` has connected from `ip`: whether to talk to it. [`Self::settled`] gives the result back.
    pub fn admit(&mut self, now: Now, node: NodeId, ip: IpAddr) -> Result<u64, Refusal> {
        let admitted = self.judge(now, node, ip);
        if let Err(refusal) = admitted {
            let count = match refusal {
                Refusal::Blocked => &mut self.tallies.refused_blocked,
                Refusal::Banned { .. } => &mut self.tallies.refused_banned,
                Refusal::Host => &mut self.tallies.refused_per_ip,
                Refusal::Subnet => &mut self.tallies.refused_per_subnet,
                Refusal::Full => &mut self.tallies.refused_high_water,
            };
            *count += 1;
            return Err(refusal);
        }
        self.admissions += 1;
        self.entering.insert(self.admissions, (node, ip));
        self.counts.add(ip);
        Ok(self.admissions)
    }

    fn judge(&mut self, now: Now, node: NodeId, ip: IpAddr) -> Result<(), Refusal> {
        self.check(&node, now)?;
        // A peer that lost the connection, or that is being dialed, has its place already; a protected one always has.
        if self.book.is_protected(&node) || self.links.contains_key(&node) || self.dials.contains_key(&node) {
            return Ok(());
        }
        self.counts.check(ip, self.marks.place(ip)).map_err(|crowded| match crowded {
            Crowded::Host => Refusal::Host,
            Crowded::Subnet => Refusal::Subnet,
        })?;
        let incoming = self.links.values().filter(|held| !held.outgoing && !held.closing).count() + self.entering.len();
        let full = self.connected() + self.entering.len() >= self.marks.high || incoming >= self.marks.incoming();
        if !full {
            return Ok(());
        }
        let newcomer = self.worth(&node, now);
        let worst = self.spare(now, |held| !held.outgoing).into_iter().next();
        match worst {
            Some((worth, worst)) if worth < newcomer => {
                self.close(worst, Parting::Crowded);
                Ok(())
            }
            _ => Err(Refusal::Full),
        }
    }

    /// What [`Self::admit`] let in is kept now, or gone.
    pub fn settled(&mut self, admission: u64) {
        if let Some((_, ip)) = self.entering.remove(&admission) {
            self.counts.remove(ip);
        }
    }

    /// A connection with `node` is kept, in place of an earlier one if there was one. `address`: where to dial it again.
    pub fn up(&mut self, now: Now, node: NodeId, ip: IpAddr, address: Option<SocketAddr>, source: Source, out: bool) {
        self.book.connected(node, address, source, now.unix);
        if let Some(entry) = self.book.known(&node) {
            (entry.failures, entry.due) = (0, None);
        }
        let held = Held { ip, source, outgoing: out, since: now.at, used: now.at, closing: false };
        if let Some(replaced) = self.links.insert(node, held) {
            self.counts.remove(replaced.ip);
        }
        self.counts.add(ip);
        self.changed.insert(node);
        self.wake = Some(now.at);
    }

    /// The connection with `node` ended.
    pub fn down(&mut self, now: Now, node: &NodeId, ending: Ending) {
        let Some(held) = self.links.remove(node) else { return };
        self.counts.remove(held.ip);
        self.wake = Some(now.at);
        let jitter = self.jitter();
        let let_go = held.closing || ending == Ending::LetGo;
        let wait = if let_go { REST.mul_f64(0.5 + jitter) } else { FIRST.mul_f64(jitter) };
        if let Some(entry) = self.book.known(node) {
            entry.standing.was_up(now.unix, now.at.saturating_duration_since(held.since));
            entry.due = Some(now.at + wait);
            self.changed.insert(*node);
        }
    }

    /// The peer `node` is at `address` now, on the same connection.
    pub fn moved(&mut self, now: Now, node: NodeId, address: SocketAddr) {
        if let Some(held) = self.links.get_mut(&node) {
            self.counts.remove(held.ip);
            held.ip = address.ip();
            self.counts.add(held.ip);
            self.book.connected(node, Some(address), held.source, now.unix);
            self.changed.insert(node);
        }
    }

    /// Somebody uses the connection with `node`, or will; until [`Self::release`].
    pub fn keep(&mut self, node: NodeId) {
        *self.kept.entry(node).or_default() += 1;
    }

    /// The connection with `node` was of use just now.
    pub fn used(&mut self, now: Now, node: &NodeId) {
        if let Some(held) = self.links.get_mut(node) {
            held.used = now.at;
        }
    }

    /// One of those who used it does no more.
    pub fn release(&mut self, now: Now, node: &NodeId) {
        let Some(users) = self.kept.get_mut(node) else { return };
        *users -= 1;
        if *users == 0 {
            self.kept.remove(node);
            if let Some(held) = self.links.get_mut(node) {
                held.used = now.at;
            }
            if self.connected() > self.marks.low {
                self.wake_by(now.at + self.marks.idle);
            }
            if self.connected() > self.marks.high {
                self.wake = Some(now.at);
            }
        }
    }

    /// `node` did something; `true` when it is banned for it.
    pub fn score(&mut self, now: Now, node: NodeId, event: ScoreEvent) -> bool {
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

    // What to do.

    /// The next thing to do at `now`, if there is one.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        if self.actions.is_empty() && self.wake.is_some_and(|wake| wake <= now.at) {
            self.wake = None;
            self.let_crowd_go(now);
            self.let_unused_go(now);
            self.choose(now);
        }
        self.actions.pop_front()
    }

    /// When [`Self::poll`] may have something to do though nothing happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wake
    }

    fn wake_by(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// From 0 to 1.
    fn jitter(&mut self) -> f64 {
        self.rng.random()
    }

    fn dial(&mut self, node: NodeId, source: Source) {
        if self.dials.contains_key(&node) {
            return;
        }
        let addresses = self.book.candidates(&node);
        let ip = addresses.first().map(SocketAddr::ip);
        self.dials.insert(node, Dial { own: true, ip, source });
        self.actions.push_back(Action::Dial { node, addresses, source });
    }

    fn close(&mut self, node: NodeId, why: Parting) {
        match self.links.get_mut(&node) {
            Some(held) if !held.closing => held.closing = true,
            _ => return,
        }
        match why {
            Parting::Crowded => self.tallies.let_go_crowded += 1,
            Parting::Unused => self.tallies.let_go_unused += 1,
            Parting::Banned => {}
        }
        self.actions.push_back(Action::Close { node, why });
    }

    /// Connections that may be let go, the least useful first, each with its worth: of those worth the same the one
    /// unused for longest.
    fn spare(&self, now: Now, of: impl Fn(&Held) -> bool) -> Vec<(f64, NodeId)> {
        let mut spare: Vec<_> = self
            .links
            .iter()
            .filter(|(node, held)| {
                let old = now.at.saturating_duration_since(held.since) >= self.marks.grace;
                old && of(held) && self.is_dispensable(node, held)
            })
            .map(|(node, held)| (self.worth(node, now), held.used, *node))
            .collect();
        spare.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        spare.into_iter().map(|(worth, _, node)| (worth, node)).collect()
    }

    fn is_dispensable(&self, node: &NodeId, held: &Held) -> bool {
        !held.closing && !self.book.is_protected(node) && !self.kept.contains_key(node)
    }

    fn let_crowd_go(&mut self, now: Now) {
        let over = self.connected().saturating_sub(self.marks.high);
        if over == 0 {
            return;
        }
        let spare = self.spare(now, |_| true);
        let missing = spare.len() < over;
        for (_, node) in spare.into_iter().take(over) {
            self.close(node, Parting::Crowded);
        }
        if missing {
            let young = self.links.iter().filter(|(node, held)| self.is_dispensable(node, held));
            if let Some(since) = young.map(|(_, held)| held.since).min() {
                self.wake_by(since + self.marks.grace);
            }
        }
    }

    fn let_unused_go(&mut self, now: Now) {
        let idle = self.marks.idle;
        let mut over = self.connected().saturating_sub(self.marks.low);
        let mut chosen = self.chosen().saturating_sub(self.marks.outgoing());
        if over == 0 {
            return;
        }
        let unused = |held: &Held| now.at.saturating_duration_since(held.used) >= idle;
        for (_, node) in self.spare(now, unused) {
            let outgoing = self.links.get(&node).is_some_and(|held| held.outgoing);
            if over == 0 || (outgoing && chosen == 0) {
                continue;
            }
            over -= 1;
            chosen -= usize::from(outgoing);
            self.close(node, Parting::Unused);
        }
        let later = self.links.iter().filter(|(node, held)| self.is_dispensable(node, held) && !unused(held));
        if let Some(used) = later.map(|(_, held)| held.used).min().filter(|_| over > 0) {
            self.wake_by((used + idle).max(now.at + Duration::from_secs(1)));
        }
    }

    /// Dials the best candidates, as many as are missing.
    fn choose(&mut self, now: Now) {
        let own: Vec<Dial> = self.dials.values().filter(|dial| dial.own).copied().collect();
        let room = self.marks.dials.saturating_sub(own.len());
        let below = self.marks.low.saturating_sub(self.connected() + own.len());
        let unchosen = self.marks.outgoing().saturating_sub(self.chosen() + own.len());
        let missing = below.max(unchosen);
        let absent = self.book.protected().iter().any(|node| self.is_free(node));
        if room == 0 || (missing == 0 && !absent) {
            return;
        }
        let mut chosen = Chosen::default();
        for held in self.links.values().filter(|held| held.outgoing && !held.closing) {
            chosen.add(held.ip, held.source);
        }
        for dial in &own {
            if let Some(ip) = dial.ip {
                chosen.add(ip, dial.source);
            }
        }
        let free = |node: &NodeId| self.is_free(node);
        let crowded = |ip: IpAddr| self.counts.check(ip, self.marks.place(ip)).is_err();
        let (mut all, next) = candidates::gather(&self.book, now, free, crowded);
        all.iter_mut().for_each(|candidate| candidate.chance = self.rng.random());
        if let Some(next) = next {
            self.wake_by(next);
        }
        for (node, source) in candidates::pick(all, chosen, self.marks.chosen_per_subnet, missing, room) {
            self.dial(node, source);
        }
    }

    fn is_free(&self, node: &NodeId) -> bool {
        *node != self.me && !self.links.contains_key(node) && !self.dials.contains_key(node)
    }
}

/// How long `entry` is refused for; never what the operator protects.
pub(super) fn banned(entry: &Entry, now: Now) -> Option<u64> {
    if entry.protected { None } else { entry.standing.banned_for(now.unix) }
}

#[cfg(test)]
mod tests;
