//! QUIC's windows of one link, which follow the plugins' streams on it. Each link has a little of its own; what it needs
//! beyond comes out of the node's [`Budgets`], so that many links together cost no more than [`crate::limits`] says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{
    BULK_SEND_WINDOW, LINK_BULK_WINDOW, LINK_SEND_WINDOW, LINK_WINDOW, PAYLOAD_BUDGET, RECEIVE_BUDGET, SEND_BUDGET,
};
use crate::wire::Budget;

/// The budgets of a node that its connections share.
#[derive(Debug)]
pub(crate) struct Budgets {
    receive: Budget,
    send: Budget,
    pub(super) payloads: Arc<Budget>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            receive: Budget::new(RECEIVE_BUDGET),
            send: Budget::new(SEND_BUDGET),
            payloads: Arc::new(Budget::new(PAYLOAD_BUDGET)),
        }
    }
}

/// How wide QUIC's windows of one link are. They follow the streams of plugins on it.
#[derive(Debug)]
pub(crate) struct Windows {
    budgets: Arc<Budgets>,
    wide: Mutex<Wide>,
}

#[derive(Debug, Default)]
struct Wide {
    /// Sum of what the plugins' streams on the link may receive unread.
    streams: u64,
    /// What the peer was allowed beyond [`LINK_WINDOW`]. It never shrinks: what QUIC has once allowed it cannot take back.
    receive: u64,
    /// How many streams send much.
    senders: usize,
    /// Whether the window for sending is wide for them.
    send: bool,
}

impl Windows {
    pub(super) fn new(budgets: Arc<Budgets>) -> Self {
        Self { budgets, wide: Mutex::default() }
    }

    fn wide(&self) -> MutexGuard<'_, Wide> {
        self.wide.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream may receive `more` bytes unread: calls `widen` with the window for receiving that the link needs now, if
    /// it is a wider one. `false` when the node has no room for it.
    ///
    /// Two streams that grow at once do not overtake each other in `widen`: QUIC adds what a window grows by to what the
    /// peer may send, and takes nothing back when it shrinks.
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

    /// A stream that was allowed so much is over.
    pub(crate) fn shrink(&self, bytes: u64) {
        let mut wide = self.wide();
        wide.streams = wide.streams.saturating_sub(bytes);
    }

    /// A stream sends much from now on. The window for sending from now on, if it is another one.
    pub(crate) fn sends_much(&self) -> Option<u64> {
        let mut wide = self.wide();
        wide.senders += 1;
        if wide.send || !self.budgets.send.take(BULK_SEND_WINDOW) {
            return None;
        }
        wide.send = true;
        Some(LINK_SEND_WINDOW + BULK_SEND_WINDOW)
    }

    /// It is over. The window for sending from now on, if it is another one.
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

    /// The window a link of `windows` has after it grew by `more`; `None` without room, 0 when it is as before.
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
        // However many streams a link has, and however often they begin anew, it keeps within its own.
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
