//! Limits on the bytes of incomplete payloads from peers: each connection has a small share of its own, and beyond that
//! draws on a [`Budget`] of the node that all connections share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A budget in bytes, which are taken and given back.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Takes `bytes`, all or nothing.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// The incomplete payloads of one connection, and how much they may hold.
#[derive(Debug)]
pub(crate) struct Payloads {
    budget: Arc<Budget>,
    /// Bytes the connection may hold without drawing on the budget.
    own: u64,
    held: Mutex<u64>,
}

impl Payloads {
    pub(crate) fn new(budget: Arc<Budget>, own: u64) -> Self {
        Self { budget, own, held: Mutex::new(0) }
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a payload, with no bytes yet.
    pub(crate) fn begin(&self) -> Unfinished<'_> {
        Unfinished { payloads: self, bytes: 0 }
    }

    fn take(&self, bytes: u64) -> bool {
        let mut held = self.held();
        let beyond = |held: u64| held.saturating_sub(self.own);
        let fits = self.budget.take(beyond(*held + bytes) - beyond(*held));
        if fits {
            *held += bytes;
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        let mut held = self.held();
        let before = held.saturating_sub(self.own);
        *held -= bytes;
        self.budget.give_back(before - held.saturating_sub(self.own));
    }
}

/// One incomplete payload; gives its bytes back when dropped.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    payloads: &'a Payloads,
    bytes: u64,
}

impl Unfinished<'_> {
    /// Takes room for `bytes` more; `false` when there is none.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let fits = self.payloads.take(bytes as u64);
        if fits {
            self.bytes += bytes as u64;
        }
        fits
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.payloads.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LINK_PAYLOADS, PAYLOAD_BUDGET};

    #[test]
    fn every_connection_has_room_for_some_payloads_and_all_together_for_so_many_more() {
        let budget = Arc::new(Budget::new(PAYLOAD_BUDGET));
        let payloads = || Payloads::new(Arc::clone(&budget), LINK_PAYLOADS);
        let (greedy, modest) = (payloads(), payloads());
        let mut held = Vec::new();
        loop {
            let mut payload = greedy.begin();
            if !payload.add(64 << 10) {
                break;
            }
            held.push(payload);
        }
        assert_eq!(held.len() as u64 * (64 << 10), LINK_PAYLOADS + PAYLOAD_BUDGET);
        let mut own = modest.begin();
        assert!(own.add(LINK_PAYLOADS as usize) && !own.add(1), "another one's greed takes nothing of its own");
        drop(held);
        assert!(own.add(1));
        drop(own);
        assert!(budget.take(PAYLOAD_BUDGET), "all of it is back");
    }
}
