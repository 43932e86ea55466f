//! The ranking of known nodes for the next dial. Pure.
//!
//! Protected peers come first. Diversity comes before quality, so that no single party becomes all of a node's choices:
//! the subnet chosen least so far, then the source chosen least so far, then the highest score, then the most recent
//! connection, then chance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::book::{Book, Entry};
use crate::address::{Subnet, Zone};
use crate::now::Now;
use crate::source::Source;

/// How many connections this node has chosen so far, by subnet and by source.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    subnets: BTreeMap<Subnet, usize>,
    sources: BTreeMap<Source, usize>,
}

impl Chosen {
    pub(super) fn add(&mut self, ip: IpAddr, source: Source) {
        if Zone::of(ip) == Zone::Public {
            *self.subnets.entry(Subnet::of(ip)).or_default() += 1;
        }
        *self.sources.entry(source).or_default() += 1;
    }

    fn in_subnet(&self, ip: IpAddr) -> usize {
        self.subnets.get(&Subnet::of(ip)).copied().unwrap_or_default()
    }

    fn from(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or_default()
    }
}

/// Candidates kept for the next dials after the whole book was ranked.
const SHORTLIST: usize = 32;
/// How long they are kept: a change of other nodes may take effect that much later.
const KEPT: Duration = Duration::from_secs(1);

/// The best candidates of the last ranking of the whole book. To rank thousands of nodes for each dial would be
/// expensive.
#[derive(Debug, Default)]
pub(super) struct Shortlist {
    all: Vec<Candidate>,
    until: Option<Instant>,
}

impl Shortlist {
    /// Takes out those that are still candidates; `None` if the whole book must be ranked again.
    pub(super) fn take(&mut self, now: Now, readiness: impl Fn(&NodeId) -> Readiness) -> Option<Vec<Candidate>> {
        let kept = std::mem::take(&mut self.all);
        if self.until.is_none_or(|until| until <= now.at) {
            self.until = None;
            return None;
        }
        let again = |old: Candidate| match readiness(&old.node) {
            Readiness::Ready(candidate) => Some(Candidate { chance: old.chance, ..candidate }),
            Readiness::Later(_) | Readiness::No => None,
        };
        Some(kept.into_iter().filter_map(again).collect())
    }

    /// Puts back what [`Self::take`] returned and was not dialed.
    pub(super) fn put_back(&mut self, rest: Vec<Candidate>) {
        self.all = rest;
    }

    /// Whether it is recent enough to be used.
    pub(super) fn is_fresh(&self) -> bool {
        self.until.is_some()
    }

    /// Keeps the best of `all` for [`KEPT`], but no longer than `next`, when a further node may be dialed.
    pub(super) fn keep(&mut self, now: Now, mut all: Vec<Candidate>, chosen: &Chosen, next: Option<Instant>) {
        if all.len() > SHORTLIST {
            all.select_nth_unstable_by_key(SHORTLIST, |candidate| candidate.rank(chosen));
            all.truncate(SHORTLIST);
            all.shrink_to_fit();
        }
        let until = now.at + KEPT;
        self.all = all;
        self.until = Some(next.map_or(until, |next| until.min(next)));
    }

    /// Forgets all: another node may rank first now.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A node that may be dialed now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    node: NodeId,
    ip: IpAddr,
    source: Source,
    protected: bool,
    score: i64,
    worked: Option<u64>,
    /// A random number that decides between equals; the manager fills it in.
    pub(super) chance: u64,
}

impl Candidate {
    /// The sort key; the lowest is dialed first.
    fn rank(&self, chosen: &Chosen) -> impl Ord + use<> {
        (
            !self.protected,
            chosen.in_subnet(self.ip),
            chosen.from(self.source),
            Reverse(self.score),
            Reverse(self.worked),
            self.chance,
        )
    }
}

/// Whether a known node may be dialed.
#[derive(Debug)]
pub(super) enum Readiness {
    /// It may be dialed now.
    Ready(Candidate),
    /// It waits until this moment, after a failed dial or for the end of its ban.
    Later(Instant),
    /// It is not to be dialed.
    No,
}

/// Checks one node. `free` tells whether it has neither a connection nor a dial in progress; `crowded` whether the
/// limits on links of its host or subnet are reached.
pub(super) fn readiness(
    node: NodeId,
    entry: &Entry,
    now: Now,
    free: impl Fn(&NodeId) -> bool,
    crowded: impl Fn(IpAddr) -> bool,
) -> Readiness {
    let Some((ip, source)) = target(entry).filter(|_| free(&node)) else { return Readiness::No };
    if let Some(ready) = waits(entry, now) {
        return Readiness::Later(ready);
    }
    if !entry.protected && crowded(ip) {
        return Readiness::No;
    }
    Readiness::Ready(Candidate {
        node,
        ip,
        source,
        protected: entry.protected,
        score: entry.standing.score(now.unix).round() as i64,
        worked: entry.addresses.iter().filter_map(|known| known.worked).max(),
        chance: 0,
    })
}

/// Until when a node must not be dialed, because of its backoff or its ban; `None` if it may be now.
fn waits(entry: &Entry, now: Now) -> Option<Instant> {
    let ban = entry.banned_for(now.unix).map(|left| now.at + Duration::from_secs(left));
    entry.due.into_iter().chain(ban).max().filter(|ready| *ready > now.at)
}

/// All nodes that may be dialed now, and when the next one may be.
pub(super) fn gather(
    book: &Book,
    now: Now,
    readiness: impl Fn(NodeId, &Entry) -> Readiness,
) -> (Vec<Candidate>, Option<Instant>) {
    let mut all = Vec::new();
    let mut next: Option<Instant> = None;
    for (node, entry) in book.iter() {
        // In a large book nearly all nodes wait longer than the next one: skip them early.
        if next.is_some_and(|next| waits(entry, now).is_some_and(|ready| ready >= next)) {
            continue;
        }
        match readiness(*node, entry) {
            Readiness::Ready(candidate) => all.push(candidate),
            Readiness::Later(ready) => next = Some(next.map_or(ready, |next| next.min(ready))),
            Readiness::No => {}
        }
    }
    (all, next)
}

/// The IP at which a node would be dialed first, and its source; `None` if the node is not to be dialed unasked. An
/// address known only from a caller is only for that caller's request.
fn target(entry: &Entry) -> Option<(IpAddr, Source)> {
    let told = |source| source != Source::Ticket;
    let wanted = entry.remembered || entry.protected || entry.addresses.iter().any(|known| told(known.source));
    let first = entry.addresses.first().filter(|_| wanted && !entry.blocked)?;
    Some((first.address.ip(), first.source))
}

/// Takes at most `room` candidates out of `all`, best first: protected ones, and at most `missing` others. It ranks
/// anew after each, since each choice counts in `chosen`.
pub(super) fn pick(
    all: &mut Vec<Candidate>,
    chosen: &mut Chosen,
    per_subnet: usize,
    missing: usize,
    room: usize,
) -> Vec<(NodeId, Source)> {
    let mut picked = Vec::new();
    let mut others = 0;
    while picked.len() < room {
        let fits = |candidate: &Candidate| {
            candidate.protected || (others < missing && chosen.in_subnet(candidate.ip) < per_subnet)
        };
        let best = all.iter().enumerate().filter(|(_, candidate)| fits(candidate));
        let Some((index, _)) = best.min_by_key(|(_, candidate)| candidate.rank(chosen)) else { break };
        let candidate = all.swap_remove(index);
        others += usize::from(!candidate.protected);
        chosen.add(candidate.ip, candidate.source);
        picked.push((candidate.node, candidate.source));
    }
    picked
}
