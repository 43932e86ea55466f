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

use super::book::{Book, Entry, Source};
use super::manager::banned;
use crate::address::{Subnet, Zone};
use crate::now::Now;

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

/// All who may be dialed now, and when somebody else may be.
pub(super) fn gather(
    book: &Book,
    now: Now,
    free: impl Fn(&NodeId) -> bool,
    crowded: impl Fn(IpAddr) -> bool,
) -> (Vec<Candidate>, Option<Instant>) {
    let mut all = Vec::new();
    let mut next: Option<Instant> = None;
    for (node, entry) in book.iter() {
        let Some((address, source)) = target(entry).filter(|_| free(node)) else { continue };
        let ready =
            entry.due.into_iter().chain(banned(entry, now).map(|left| now.at + Duration::from_secs(left))).max();
        if let Some(ready) = ready.filter(|ready| *ready > now.at) {
            next = Some(next.map_or(ready, |next| next.min(ready)));
            continue;
        }
        if !entry.protected && crowded(address) {
            continue;
        }
        all.push(Candidate {
            node: *node,
            ip: address,
            source,
            protected: entry.protected,
            score: entry.standing.score(now.unix).round() as i64,
            worked: entry.addresses.iter().filter_map(|known| known.worked).max(),
            chance: 0,
        });
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

/// At most `room` of them, best first: protected ones, and `missing` others. One after the other, since each choice
/// counts for the next.
pub(super) fn pick(
    mut all: Vec<Candidate>,
    mut chosen: Chosen,
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
        let rank = |candidate: &Candidate| {
            (
                !candidate.protected,
                chosen.in_subnet(candidate.ip),
                chosen.from(candidate.source),
                Reverse(candidate.score),
                Reverse(candidate.worked),
                candidate.chance,
            )
        };
        let best = all.iter().enumerate().filter(|(_, candidate)| fits(candidate));
        let Some((index, _)) = best.min_by_key(|(_, candidate)| rank(candidate)) else { break };
        let candidate = all.swap_remove(index);
        others += usize::from(!candidate.protected);
        chosen.add(candidate.ip, candidate.source);
        picked.push((candidate.node, candidate.source));
    }
    picked
}
