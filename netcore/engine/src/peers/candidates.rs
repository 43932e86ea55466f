//! Which of the known nodes is dialed next. Pure.
//!
//! Protected ones come first. Then what keeps an attacker from being all of a node's choices comes before what makes a good
//! peer: a subnet not chosen yet, then the source least chosen from so far, then the score, then who was connected most
//! recently, then chance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::book::{Book, Entry};
use crate::address::{Subnet, Zone};
use crate::now::Now;
use crate::source::Source;

/// Where the connections are that were chosen so far.
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

/// Candidates kept from one look at the whole book for the next dials.
const SHORTLIST: usize = 32;
/// How long they are kept: what happens meanwhile to others may wait that long.
const KEPT: Duration = Duration::from_secs(1);

/// The best candidates of the last look at the book: a look for each dial is what costs a node that knows thousands.
#[derive(Debug, Default)]
pub(super) struct Shortlist {
    all: Vec<Candidate>,
    until: Option<Instant>,
}

impl Shortlist {
    /// Takes out those that are still candidates; nothing if all are to be gathered anew.
    pub(super) fn take(&mut self, now: Now, look: impl Fn(&NodeId) -> Look) -> Option<Vec<Candidate>> {
        let kept = std::mem::take(&mut self.all);
        if self.until.is_none_or(|until| until <= now.at) {
            self.until = None;
            return None;
        }
        let again = |old: Candidate| match look(&old.node) {
            Look::Ready(candidate) => Some(Candidate { chance: old.chance, ..candidate }),
            Look::Later(_) | Look::No => None,
        };
        Some(kept.into_iter().filter_map(again).collect())
    }

    /// Puts back what [`Self::take`] gave and nobody took.
    pub(super) fn put_back(&mut self, rest: Vec<Candidate>) {
        self.all = rest;
    }

    /// Whether it was gathered so lately that it need not be again.
    pub(super) fn is_fresh(&self) -> bool {
        self.until.is_some()
    }

    /// Keeps the best, until somebody else may be dialed at `next`.
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

    /// Somebody else may come first now.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Somebody who may be dialed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    node: NodeId,
    ip: IpAddr,
    source: Source,
    protected: bool,
    score: i64,
    worked: Option<u64>,
    /// Decides between equals; to be filled in.
    pub(super) chance: u64,
}

impl Candidate {
    /// Less is better.
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
pub(super) enum Look {
    /// Now.
    Ready(Candidate),
    /// Not before then.
    Later(Instant),
    /// No.
    No,
}

/// Looks at one node. `free`: there is no connection with it, nor a dial. `crowded`: there are too many of its network.
pub(super) fn look(
    node: NodeId,
    entry: &Entry,
    now: Now,
    free: impl Fn(&NodeId) -> bool,
    crowded: impl Fn(IpAddr) -> bool,
) -> Look {
    let Some((ip, source)) = target(entry).filter(|_| free(&node)) else { return Look::No };
    if let Some(ready) = waits(entry, now) {
        return Look::Later(ready);
    }
    if !entry.protected && crowded(ip) {
        return Look::No;
    }
    Look::Ready(Candidate {
        node,
        ip,
        source,
        protected: entry.protected,
        score: entry.standing.score(now.unix).round() as i64,
        worked: entry.addresses.iter().filter_map(|known| known.worked).max(),
        chance: 0,
    })
}

/// Until when a node that did not answer, or did harm, is left alone; `None` if it is not.
fn waits(entry: &Entry, now: Now) -> Option<Instant> {
    let ban = entry.banned_for(now.unix).map(|left| now.at + Duration::from_secs(left));
    entry.due.into_iter().chain(ban).max().filter(|ready| *ready > now.at)
}

/// All who may be dialed now, and when somebody else may be.
pub(super) fn gather(
    book: &Book,
    now: Now,
    look: impl Fn(NodeId, &Entry) -> Look,
) -> (Vec<Candidate>, Option<Instant>) {
    let mut all = Vec::new();
    let mut next: Option<Instant> = None;
    for (node, entry) in book.iter() {
        // Nearly all of a large book wait longer than somebody else.
        if next.is_some_and(|next| waits(entry, now).is_some_and(|ready| ready >= next)) {
            continue;
        }
        match look(*node, entry) {
            Look::Ready(candidate) => all.push(candidate),
            Look::Later(ready) => next = Some(next.map_or(ready, |next| next.min(ready))),
            Look::No => {}
        }
    }
    (all, next)
}

/// Where a node would be dialed first and who knows it, if it is to be dialed by ourselves at all: what a caller told alone
/// is for that caller.
fn target(entry: &Entry) -> Option<(IpAddr, Source)> {
    let told = |source| source != Source::Ticket;
    let wanted = entry.remembered || entry.protected || entry.addresses.iter().any(|known| told(known.source));
    let first = entry.addresses.first().filter(|_| wanted && !entry.blocked)?;
    Some((first.address.ip(), first.source))
}

/// Takes out at most `room` of them, best first: protected ones, and `missing` others. One after the other, since each
/// choice counts for the next.
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
