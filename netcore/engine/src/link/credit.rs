//! Flow control of one direction of a stream between two plugins. Pure. The receiving netcore grants credit: an
//! absolute count of bytes that the sending netcore may send. A plugin that does not read never fills QUIC's own
//! windows: netcore reads everything from QUIC at once, and no more than the credit can be in flight.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that each direction of a stream between peers may send before any credit arrives; a call's payload fits in it.
pub const INITIAL_WINDOW: u64 = 64 << 10;
/// Largest window of one direction, bytes: 8 MiB allow 640 Mbit/s at a round trip of 100 ms.
pub const MAX_WINDOW: u64 = 8 << 20;

/// The sender's limit for one direction of a stream: the bytes that the receiver has granted so far.
#[derive(Debug)]
pub struct SendLimit(AtomicU64);

impl Default for SendLimit {
    fn default() -> Self {
        Self(AtomicU64::new(INITIAL_WINDOW))
    }
}

impl SendLimit {
    /// Raises the limit to `limit` and returns `true`; a `limit` that is not higher changes nothing and returns
    /// `false`.
    pub fn raise(&self, limit: u64) -> bool {
        self.0.fetch_max(limit, Ordering::AcqRel) < limit
    }

    /// The limit, bytes from the start of the stream.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The peer sent more than it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{received} bytes of a stream with a credit of {granted}")]
pub struct OverCredit {
    /// Bytes received, from the start of the stream.
    pub received: u64,
    /// Bytes granted, from the start of the stream.
    pub granted: u64,
}

/// The receiver's window for one direction of a stream.
#[derive(Debug)]
pub struct ReceiveWindow {
    granted: u64,
    received: u64,
    consumed: u64,
    window: u64,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { granted: INITIAL_WINDOW, received: 0, consumed: 0, window: INITIAL_WINDOW }
    }
}

impl ReceiveWindow {
    /// Adds `bytes` received from the peer. Fails when they exceed the credit.
    pub fn handle_received(&mut self, bytes: usize) -> Result<(), OverCredit> {
        self.received += bytes as u64;
        if self.received > self.granted {
            return Err(OverCredit { received: self.received, granted: self.granted });
        }
        Ok(())
    }

    /// Adds `bytes` that the plugin has read.
    pub fn handle_consumed(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// The new credit for the sender, once half of the window is used up. The window doubles, up to [`MAX_WINDOW`],
    /// while the plugin keeps up (at most a quarter of the window is unread) and `grow` has room for that many more
    /// bytes.
    pub fn poll_credit(&mut self, grow: impl FnOnce(u64) -> bool) -> Option<u64> {
        if self.granted - self.consumed > self.window / 2 {
            return None;
        }
        let keeps_up = self.received - self.consumed <= self.window / 4;
        if keeps_up && self.window < MAX_WINDOW && grow(self.window) {
            self.window *= 2;
        }
        self.granted = self.consumed + self.window;
        Some(self.granted)
    }

    /// The window: bytes that may be granted and not yet read.
    pub fn window(&self) -> u64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_reads_gets_a_window_that_doubles_up_to_the_largest() {
        let mut window = ReceiveWindow::default();
        let mut granted = INITIAL_WINDOW;
        for _ in 0..64 {
            let chunk = (granted - window.received) as usize;
            window.handle_received(chunk).unwrap();
            window.handle_consumed(chunk);
            granted = window.poll_credit(|_| true).unwrap();
        }
        assert_eq!(window.window(), MAX_WINDOW);
        assert_eq!(granted, window.consumed + MAX_WINDOW);
    }

    #[test]
    fn a_plugin_that_does_not_read_gets_no_more_than_the_initial_window() {
        let mut window = ReceiveWindow::default();
        window.handle_received(INITIAL_WINDOW as usize).unwrap();
        assert_eq!(window.poll_credit(|_| true), None);
        window.handle_consumed(10);
        assert_eq!(window.poll_credit(|_| true), None);
        assert_eq!(
            window.handle_received(1),
            Err(OverCredit { received: INITIAL_WINDOW + 1, granted: INITIAL_WINDOW })
        );
    }

    #[test]
    fn without_room_in_the_pool_credit_goes_on_at_the_same_window() {
        let mut window = ReceiveWindow::default();
        window.handle_received(40 << 10).unwrap();
        window.handle_consumed(40 << 10);
        assert_eq!(window.poll_credit(|_| false), Some((40 << 10) + INITIAL_WINDOW));
        assert_eq!(window.window(), INITIAL_WINDOW);
    }

    #[test]
    fn credit_only_rises() {
        let limit = SendLimit::default();
        assert!(!limit.raise(1));
        assert_eq!(limit.bytes(), INITIAL_WINDOW);
        assert!(limit.raise(INITIAL_WINDOW + 1) && !limit.raise(INITIAL_WINDOW + 1));
        assert_eq!(limit.bytes(), INITIAL_WINDOW + 1);
    }
}
