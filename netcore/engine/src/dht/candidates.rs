//! Nodes waiting to be called for the first time. Nobody has seen them where they are said to be: whoever brings ones that are
//! not there has this node send packets to others, and takes the turn of those that are. So each public network of bringers
//! has few places, and only so many calls that fail.

use std::collections::VecDeque;
use std::time::Instant;

use super::contact::Contact;
use super::key::Key;
use super::limits::{CANDIDATES_PER_SUBNET, MAX_ASKERS, MAX_CANDIDATES, WASTED_BURST, WASTED_EVERY};
use crate::address::Subnet;
use crate::rate::{Buckets, Rate};

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) contact: Contact,
    /// The public network of the node that told of it, or that it asked from; none on local networks, and for what this node
    /// knows by itself.
    pub(super) bringer: Option<Subnet>,
    /// Another one that told of it later.
    second: Option<Subnet>,
}

impl Candidate {
    /// Who may answer for calling it, in order. Whoever has used up what it may waste must not keep away, by telling of them
    /// first, those that others tell of too.
    pub(super) fn bringers(&self) -> impl Iterator<Item = Option<Subnet>> {
        std::iter::once(self.bringer).chain(self.second.map(Some))
    }
}

/// All of them, in order; at most [`MAX_CANDIDATES`].
#[derive(Debug)]
pub(super) struct Candidates {
    waiting: VecDeque<Candidate>,
    /// First calls that came to nothing, by who brought whom was called.
    wasted: Buckets<Subnet>,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), wasted: Buckets::new(MAX_ASKERS) }
    }
}

/// Of calls, each of which costs [`CALL`] tokens: one comes back in [`WASTED_EVERY`] seconds.
const WASTED: Rate = Rate { burst: WASTED_BURST * WASTED_EVERY, per_second: 1 };
/// See [`WASTED`].
const CALL: usize = WASTED_EVERY as usize;

impl Candidates {
    /// Whether it waits already; who tells of it again may answer for it too.
    pub(super) fn told_again(&mut self, key: &Key, bringer: Option<Subnet>) -> bool {
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.contact.key == *key) else { return false };
        match bringer {
            None => waiting.bringer = None,
            other if waiting.bringer != other => waiting.second = waiting.second.or(other),
            Some(_) => {}
        }
        true
    }

    /// Adds one as the last; `false` when there are too many, in all or of its bringer's network.
    pub(super) fn add(&mut self, contact: Contact, bringer: Option<Subnet>) -> bool {
        let of_bringer = || self.waiting.iter().filter(|waiting| waiting.bringer == bringer).count();
        let crowded = bringer.is_some() && of_bringer() >= CANDIDATES_PER_SUBNET;
        let fits = self.waiting.len() < MAX_CANDIDATES && !crowded;
        if fits {
            self.waiting.push_back(Candidate { contact, bringer, second: None });
        }
        fits
    }

    /// Adds one that this node has known of for a while as the next; the last makes room.
    pub(super) fn add_first(&mut self, contact: Contact) {
        self.waiting.truncate(MAX_CANDIDATES - 1);
        self.waiting.push_front(Candidate { contact, bringer: None, second: None });
    }

    pub(super) fn next(&mut self) -> Option<Candidate> {
        self.waiting.pop_front()
    }

    /// Whether one more of those that this network brings may be called.
    pub(super) fn may_call(&self, bringer: Option<Subnet>, at: Instant) -> bool {
        bringer.is_none_or(|bringer| self.wasted.has(&bringer, CALL, at))
    }

    /// One that this network brought is not there.
    pub(super) fn was_wasted(&mut self, bringer: Option<Subnet>, at: Instant) {
        if let Some(bringer) = bringer {
            self.wasted.take(bringer, WASTED, CALL, at);
        }
    }

    /// Forgets networks of which nothing failed lately.
    pub(super) fn forget(&mut self, at: Instant) {
        self.wasted.forget_full(at);
    }

    /// In the order in which they will be called.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.waiting.iter().map(|waiting| &waiting.contact)
    }
}
