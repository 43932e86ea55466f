//! Nodes that wait for their first call. Nobody has verified their addresses: a node that introduces absent ones makes
//! this node send packets to others, and takes the turn of real nodes. So each public subnet has few places for the
//! nodes that it introduces, and few first calls of them may fail.

use std::collections::VecDeque;
use std::time::Instant;

use super::contact::Contact;
use super::key::Key;
use super::limits::{CANDIDATES_PER_SUBNET, MAX_ASKERS, MAX_CANDIDATES, WASTED_BURST, WASTED_EVERY};
use crate::address::Subnet;
use crate::rate::{Buckets, Rate};

/// A node that waits for its first call.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) contact: Contact,
    /// The public subnet that introduced it: of the node that named it, or of itself when it asked a question. `None`
    /// on local networks, and for nodes that this node knows on its own.
    pub(super) introducer: Option<Subnet>,
    /// Another subnet that named it later.
    second: Option<Subnet>,
}

impl Candidate {
    /// The subnets that its first call may be charged to, first one first. A subnet that has used up its failed calls
    /// must not, by naming nodes first, block those that others name, too.
    pub(super) fn introducers(&self) -> impl Iterator<Item = Option<Subnet>> {
        std::iter::once(self.introducer).chain(self.second.map(Some))
    }
}

/// All candidates, in the order of their calls; at most [`MAX_CANDIDATES`].
#[derive(Debug)]
pub(super) struct Candidates {
    waiting: VecDeque<Candidate>,
    /// Failed first calls, per introducing subnet.
    wasted: Buckets<Subnet>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), wasted: Buckets::new(MAX_ASKERS) }
    }
}

/// Token bucket of failed first calls. Rates are whole tokens per second, so a call costs [`CALL`] tokens and one call
/// is refilled in [`WASTED_EVERY`] seconds.
const WASTED: Rate = Rate { burst: WASTED_BURST * WASTED_EVERY, per_second: 1 };
/// Tokens of one failed call.
const CALL: usize = WASTED_EVERY as usize;

impl Candidates {
    /// Whether a node waits already; if so, notes that `introducer` names it, too.
    pub(super) fn named_again(&mut self, key: &Key, introducer: Option<Subnet>) -> bool {
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.contact.key == *key) else { return false };
        match introducer {
            None => waiting.introducer = None,
            other if waiting.introducer != other => waiting.second = waiting.second.or(other),
            Some(_) => {}
        }
        true
    }

    /// Adds a node at the end; `false` when too many wait, in all or introduced by this subnet.
    pub(super) fn add(&mut self, contact: Contact, introducer: Option<Subnet>) -> bool {
        let introduced = || self.waiting.iter().filter(|waiting| waiting.introducer == introducer).count();
        let crowded = introducer.is_some() && introduced() >= CANDIDATES_PER_SUBNET;
        let fits = self.waiting.len() < MAX_CANDIDATES && !crowded;
        if fits {
            self.waiting.push_back(Candidate { contact, introducer, second: None });
        }
        fits
    }

    /// Adds a spare, which this node has known for a while, at the front; at the limit the last candidate is removed.
    pub(super) fn add_first(&mut self, contact: Contact) {
        self.waiting.truncate(MAX_CANDIDATES - 1);
        self.waiting.push_front(Candidate { contact, introducer: None, second: None });
    }

    pub(super) fn next(&mut self) -> Option<Candidate> {
        self.waiting.pop_front()
    }

    /// Whether one more node that this subnet introduced may be called.
    pub(super) fn may_call(&self, introducer: Option<Subnet>, at: Instant) -> bool {
        introducer.is_none_or(|introducer| self.wasted.has(&introducer, CALL, at))
    }

    /// Counts a failed first call of a node that this subnet introduced.
    pub(super) fn was_wasted(&mut self, introducer: Option<Subnet>, at: Instant) {
        if let Some(introducer) = introducer {
            self.wasted.take(introducer, WASTED, CALL, at);
        }
    }

    /// Removes the token buckets that are full again.
    pub(super) fn forget(&mut self, at: Instant) {
        self.wasted.forget_full(at);
    }

    /// The candidates in the order of their calls.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.waiting.iter().map(|waiting| &waiting.contact)
    }
}
