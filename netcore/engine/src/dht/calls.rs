//! Calls in flight and their timers: when each becomes slow, and when it has failed. All calls have the same two
//! timeouts, so the timers of each kind are a queue in the order of the calls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::contact::Contact;
use super::limits::{CALL_TIMEOUT, MAX_CALLS, SLOW};
use super::{Ask, CallId, Dht, Output, QueryId, Request};
use crate::address::Subnet;
use crate::now::Now;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A step of a lookup.
    Step(QueryId),
    /// A request to store a record or list a provider.
    Put(QueryId),
    /// A check whether a contact or a spare answers.
    Check,
    /// The first call to a node; `introducer` is the public subnet of the node that named it.
    First { introducer: Option<Subnet> },
    /// A record that is handed to a node closer to its key, or to one that lacked it.
    Handover,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: Contact,
    pub(super) purpose: Purpose,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<CallId, Call>,
    slow: VecDeque<(Instant, CallId)>,
    late: VecDeque<(Instant, CallId)>,
    last: u64,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn begin(&mut self, at: Instant, call: Call) -> CallId {
        self.last += 1;
        let id = CallId(self.last);
        self.open.insert(id, call);
        self.slow.push_back((at + SLOW, id));
        self.late.push_back((at + CALL_TIMEOUT, id));
        id
    }

    pub(super) fn query_of(&self, id: CallId) -> Option<QueryId> {
        match self.open.get(&id)?.purpose {
            Purpose::Step(query) | Purpose::Put(query) => Some(query),
            Purpose::Check | Purpose::First { .. } | Purpose::Handover => None,
        }
    }

    pub(super) fn end(&mut self, id: CallId) -> Option<Call> {
        let call = self.open.remove(&id);
        for timers in [&mut self.slow, &mut self.late] {
            while timers.front().is_some_and(|(_, id)| !self.open.contains_key(id)) {
                timers.pop_front();
            }
            if timers.len() > 4 * MAX_CALLS {
                // The first timer's call may outlive most others: they would all stay behind it.
                timers.retain(|(_, id)| self.open.contains_key(id));
            }
        }
        call
    }

    /// When [`Self::next_slow`] or [`Self::next_late`] returns the next call.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let first = |timers: &VecDeque<(Instant, CallId)>| timers.front().map(|(at, _)| *at);
        first(&self.slow).into_iter().chain(first(&self.late)).min()
    }

    /// Takes a call that has become slow; each is returned once.
    pub(super) fn next_slow(&mut self, at: Instant) -> Option<&Call> {
        while self.slow.front().is_some_and(|(due, _)| *due <= at) {
            let (_, id) = self.slow.pop_front()?;
            if self.open.contains_key(&id) {
                return self.open.get(&id);
            }
        }
        None
    }

    /// The first call whose timeout has passed.
    pub(super) fn next_late(&self, at: Instant) -> Option<CallId> {
        self.late.front().filter(|(due, _)| *due <= at).map(|(_, id)| *id)
    }
}

impl Dht {
    /// Begins a call. The caller keeps to [`MAX_CALLS`].
    pub(super) fn call(&mut self, now: Now, to: Contact, purpose: Purpose, ask: Ask) {
        let zone = to.record.zone();
        let request = Request { ask, from: self.addresses.told_to(zone).cloned() };
        let record = Arc::clone(&to.record);
        let call = self.calls.begin(now.at, Call { to, purpose });
        self.counts.calls += 1;
        self.outputs.push_back(Output::Call { call, to: record, request });
    }
}
