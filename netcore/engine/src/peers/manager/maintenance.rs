//! The upkeep of the connections: which peers are disconnected and which are dialed now.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use rand::RngExt;

use super::{Action, CloseReason, Dial, Held, Manager};
use crate::now::Now;
use crate::peers::book::Entry;
use crate::peers::candidates::{self, Chosen, Readiness};
use crate::source::Source;

impl Manager {
    /// The next action at `now`; call it again until there is none.
    pub fn poll(&mut self, now: Now) -> Option<Action> {
        if self.actions.is_empty() && self.wake.is_some_and(|wake| wake <= now.at) {
            self.wake = None;
            self.close_excess(now);
            self.close_unused(now);
            self.choose(now);
        }
        self.actions.pop_front()
    }

    /// When to call [`Self::poll`] if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wake
    }

    pub(super) fn wake_by(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// A random number from 0 to 1.
    pub(super) fn jitter(&mut self) -> f64 {
        self.rng.random()
    }

    pub(super) fn dial(&mut self, node: NodeId, source: Source) {
        if self.dials.contains_key(&node) {
            return;
        }
        let addresses = self.book.candidates(&node);
        let ip = addresses.first().map(SocketAddr::ip);
        self.dials.insert(node, Dial { own: true, ip, source });
        self.actions.push_back(Action::Dial { node, addresses, source });
    }

    pub(super) fn close(&mut self, node: NodeId, why: CloseReason) {
        match self.links.get_mut(&node) {
            Some(held) if !held.closing => held.closing = true,
            _ => return,
        }
        match why {
            CloseReason::Crowded => self.tallies.let_go_crowded += 1,
            CloseReason::Unused => self.tallies.let_go_unused += 1,
            CloseReason::Banned => {}
        }
        self.actions.push_back(Action::Close { node, why });
    }

    /// The peers that may be disconnected to make room, each with its worth: the lowest worth first, and of equals the
    /// one unused for longest.
    pub(super) fn spare(&self, now: Now, of: impl Fn(&Held) -> bool) -> Vec<(f64, NodeId)> {
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

    fn close_excess(&mut self, now: Now) {
        let over = self.connected().saturating_sub(self.marks.high);
        if over == 0 {
            return;
        }
        let spare = self.spare(now, |_| true);
        let missing = spare.len() < over;
        for (_, node) in spare.into_iter().take(over) {
            self.close(node, CloseReason::Crowded);
        }
        if missing {
            let young = self.links.iter().filter(|(node, held)| self.is_dispensable(node, held));
            if let Some(since) = young.map(|(_, held)| held.since).min() {
                self.wake_by(since + self.marks.grace);
            }
        }
    }

    fn close_unused(&mut self, now: Now) {
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
            self.close(node, CloseReason::Unused);
        }
        let later = self.links.iter().filter(|(node, held)| self.is_dispensable(node, held) && !unused(held));
        if let Some(used) = later.map(|(_, held)| held.used).min().filter(|_| over > 0) {
            self.wake_by((used + idle).max(now.at + Duration::from_secs(1)));
        }
    }

    /// Dials the best candidates, as many as are missing, and absent protected peers.
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
        let mut shortlist = std::mem::take(&mut self.shortlist);
        let again =
            |node: &NodeId| self.book.get(node).map_or(Readiness::No, |entry| self.readiness(*node, entry, now));
        let per_subnet = self.marks.chosen_per_subnet;
        let mut picked = Vec::new();
        if let Some(mut all) = shortlist.take(now, again) {
            picked = candidates::pick(&mut all, &mut chosen, per_subnet, missing, room);
            shortlist.put_back(all);
        }
        for (node, source) in &picked {
            self.dial(*node, *source);
        }
        let (missing, room) = (missing.saturating_sub(picked.len()), room - picked.len());
        if !shortlist.is_fresh() || (missing > 0 && room > 0) {
            let (mut all, next) = candidates::gather(&self.book, now, |node, entry| self.readiness(node, entry, now));
            all.iter_mut().for_each(|candidate| candidate.chance = self.rng.random());
            if let Some(next) = next {
                self.wake_by(next);
            }
            for (node, source) in candidates::pick(&mut all, &mut chosen, per_subnet, missing, room) {
                self.dial(node, source);
            }
            shortlist.keep(now, all, &chosen, next);
        }
        self.shortlist = shortlist;
    }

    fn readiness(&self, node: NodeId, entry: &Entry, now: Now) -> Readiness {
        let crowded = |ip: IpAddr| self.counts.check(ip, self.marks.zone_limits(ip)).is_err();
        candidates::readiness(node, entry, now, |node| self.is_free(node), crowded)
    }

    fn is_free(&self, node: &NodeId) -> bool {
        *node != self.me && !self.links.contains_key(node) && !self.dials.contains_key(node)
    }
}
