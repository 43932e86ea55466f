//! QUIC's windows of one link, which follow the plugins' streams on it. Each link has a small share of its own. What it
//! needs beyond that comes out of the node's [`Budgets`], so that all links together stay within [`crate::limits`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{
    BULK_SEND_WINDOW, EARLY_BUDGET, LINK_BULK_WINDOW, LINK_SEND_WINDOW, LINK_WINDOW, PAYLOAD_BUDGET, RECEIVE_BUDGET,
    SEND_BUDGET,
};
use crate::wire::Budget;

/// Budgets in bytes that all connections of a node share.
#[derive(Debug)]
pub(crate) struct Budgets {
    receive: Budget,
    send: Budget,
    pub(super) payloads: Arc<Budget>,
    pub(super) early: Arc<Budget>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            receive: Budget::new(RECEIVE_BUDGET),
            send: Budget::new(SEND_BUDGET),
            payloads: Arc::new(Budget::new(PAYLOAD_BUDGET)),
            early: Arc::new(Budget::new(EARLY_BUDGET)),
        }
    }
}

/// QUIC's windows of one link. Their sizes follow the plugins' streams on it.
#[derive(Debug)]
pub(crate) struct Windows {
    budgets: Arc<Budgets>,
    wide: Mutex<Wide>,
}

#[derive(Debug, Default)]
struct Wide {
    /// Sum of the receive windows of the plugins' streams on the link, bytes.
    streams: u64,
    /// Bytes that the peer was allowed beyond [`LINK_WINDOW`]. It never shrinks, since QUIC cannot take back what it
    /// has allowed.
    receive: u64,
    /// Number of streams in bulk sending.
    senders: usize,
    /// Whether the send window is widened for them.
    send: bool,
}

impl Windows {
    pub(super) fn new(budgets: Arc<Budgets>) -> Self {
        Self { budgets, wide: Mutex::default() }
    }

    fn wide(&self) -> MutexGuard<'_, Wide> {
        self.wide.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows a stream's receive window by `more` bytes. If the link needs a wider receive window for it, calls `widen`
    /// with the new size in bytes. `false` when the node's budget does not allow it.
    ///
    /// `widen` is called under the lock, so that calls for two streams keep their order: QUIC adds each growth of the
    /// window to what the peer may send, and takes nothing back when the window shrinks.
    pub(super) fn grow(&self, more: u64, widen: impl FnOnce(u64)) -> bool {
        let mut wide = self.wide();
        let needed = (wide.streams + more).min(LINK_BULK_WINDOW);
        let further = needed.saturating_sub(wide.receive);
        if !self.budgets.receive.take(further) {
            return false;
        }
        wide.streams += more;
        wide.receive += further;
        if further > 0 {
            widen(LINK_WINDOW + wide.receive);
        }
        true
    }

    /// Ends a stream whose receive window was `bytes`.
    pub(crate) fn shrink(&self, bytes: u64) {
        let mut wide = self.wide();
        wide.streams = wide.streams.saturating_sub(bytes);
    }

    /// A stream starts bulk sending. Returns the new send window in bytes, if it changes.
    pub(crate) fn sends_much(&self) -> Option<u64> {
        let mut wide = self.wide();
        wide.senders += 1;
        if wide.send || !self.budgets.send.take(BULK_SEND_WINDOW) {
            return None;
        }
        wide.send = true;
        Some(LINK_SEND_WINDOW + BULK_SEND_WINDOW)
    }

    /// A stream ends bulk sending. Returns the new send window in bytes, if it changes.
    pub(crate) fn sent_much(&self) -> Option<u64> {
        let mut wide = self.wide();
        wide.senders = wide.senders.saturating_sub(1);
        if wide.senders > 0 || !std::mem::take(&mut wide.send) {
            return None;
        }
        self.budgets.send.give_back(BULK_SEND_WINDOW);
        Some(LINK_SEND_WINDOW)
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        let wide = self.wide.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budgets.receive.give_back(wide.receive);
        if wide.send {
            self.budgets.send.give_back(BULK_SEND_WINDOW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_engine::link::credit::{INITIAL_WINDOW, MAX_WINDOW};

    /// The receive window of a link after a stream grew by `more`; `None` if the budget is used up, 0 if it did not
    /// change.
    fn grow(windows: &Windows, more: u64) -> Option<u64> {
        let mut window = 0;
        windows.grow(more, |wider| window = wider).then_some(window)
    }

    #[test]
    fn one_stream_gets_the_largest_window_and_the_link_no_more_than_it_needs() {
        let windows = Windows::new(Arc::default());
        assert_eq!(grow(&windows, INITIAL_WINDOW), Some(LINK_WINDOW + INITIAL_WINDOW));
        let mut window = INITIAL_WINDOW;
        while window < MAX_WINDOW {
            assert_eq!(grow(&windows, window), Some(LINK_WINDOW + 2 * window), "QUIC is never narrower than credit");
            window *= 2;
        }
        windows.shrink(MAX_WINDOW);
        assert_eq!(grow(&windows, MAX_WINDOW), Some(0), "the next stream finds it as wide");
    }

    #[test]
    fn links_together_get_no_more_than_the_budget_and_ended_ones_give_it_back() {
        let budgets = Arc::new(Budgets::default());
        let mut links = Vec::new();
        loop {
            let windows = Windows::new(Arc::clone(&budgets));
            if grow(&windows, MAX_WINDOW).is_none() {
                break;
            }
            links.push(windows);
        }
        assert_eq!(links.len() as u64, RECEIVE_BUDGET / MAX_WINDOW);
        // A link keeps within its share, however many streams it has and however often new ones begin.
        let one = links.pop().expect("some");
        for _ in 0..100 {
            if grow(&one, MAX_WINDOW).is_some() {
                one.shrink(MAX_WINDOW);
            }
        }
        drop(one);
        let next = Windows::new(Arc::clone(&budgets));
        assert!(grow(&next, MAX_WINDOW).is_some() && grow(&next, 1).is_none());
    }

    #[test]
    fn a_link_that_sends_much_has_a_wide_window_until_the_last_such_stream_is_over() {
        let budgets = Arc::new(Budgets::default());
        let windows = Windows::new(Arc::clone(&budgets));
        assert_eq!(windows.sends_much(), Some(LINK_SEND_WINDOW + BULK_SEND_WINDOW));
        assert_eq!((windows.sends_much(), windows.sent_much()), (None, None));
        let others: Vec<_> = (0..100).map(|_| Windows::new(Arc::clone(&budgets))).collect();
        let wide = others.iter().filter(|other| other.sends_much().is_some()).count() as u64;
        assert_eq!(wide + 1, SEND_BUDGET / BULK_SEND_WINDOW);
        assert_eq!(windows.sent_much(), Some(LINK_SEND_WINDOW));
        drop(others);
        assert!(budgets.send.take(SEND_BUDGET), "all of it is back");
    }
}
