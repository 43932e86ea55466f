//! How many streams a peer may open and what they may carry: places, windows, and what is too much.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use quinn::VarInt;

use super::PeerLink;
use super::credit::Credit;
use crate::limits::{FRAME_STREAMS, FREE_STREAMS, LINK_WINDOW};

impl PeerLink {
    /// Enters a stream, so that credit for it is known.
    pub(super) fn register(&self, stream: u64) -> Arc<Credit> {
        Arc::clone(self.state().streams.entry(stream).or_default())
    }

    pub(super) fn unregister(&self, stream: u64) {
        let mut state = self.state();
        state.streams.remove(&stream);
        state.credits.remove(&stream);
    }

    /// Tells the peer that it may send up to `limit` bytes of a stream.
    pub(crate) fn grant(&self, stream: u64, limit: u64) {
        self.state().credits.insert(stream, limit);
        self.to_send.notify_one();
    }

    /// One more stream of the peer's is in use, until the result is dropped: it may open as many more as before.
    pub(super) fn stream_in_use(self: &Arc<Self>) -> InUse {
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.allow_streams(in_use + FREE_STREAMS);
        InUse(Arc::clone(self))
    }

    /// One more stream carries frames, until [`Self::leave_frames`]; `false` when there are too many.
    pub(super) fn enter_frames(&self) -> bool {
        let entered = self
            .frames
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < FRAME_STREAMS).then_some(count + 1));
        entered.is_ok()
    }

    pub(super) fn leave_frames(&self) {
        self.frames.fetch_sub(1, Ordering::AcqRel);
    }

    /// The peer opened a stream: whether to look at it.
    pub(super) fn stream_came(&self) -> Admission {
        let (for_nothing, refused) = &mut *self.for_nothing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if for_nothing.take(1, now) {
            Admission::Serve
        } else if refused.take(1, now) {
            Admission::OverRate
        } else {
            Admission::Flood
        }
    }

    /// A stream of the peer's came to something: it does not count.
    pub(crate) fn stream_was_useful(&self) {
        self.for_nothing.lock().unwrap_or_else(PoisonError::into_inner).0.give_back();
    }

    pub(super) fn allow_streams(&self, count: usize) {
        let mut state = self.state();
        if state.allowed_streams < count {
            state.allowed_streams = count;
            self.connection.set_max_concurrent_bi_streams(VarInt::from_u32(count as u32));
        }
    }

    /// The peer has said Hello: it may send as much as every link may.
    pub(super) fn open_window(&self) {
        self.set_receive_window(LINK_WINDOW);
    }

    /// A stream between plugins may receive `more` bytes that are not read yet. `false`: the node has no room for that.
    pub(crate) fn widen(&self, more: u64) -> bool {
        self.windows.grow(more, |window| self.set_receive_window(window))
    }

    /// Only ever called with more than before: QUIC adds the difference to what the peer may send, each time it grows.
    pub(super) fn set_receive_window(&self, bytes: u64) {
        self.connection.set_receive_window(VarInt::from_u64(bytes).unwrap_or(VarInt::MAX));
    }

    /// A stream between plugins sends much, or does no more.
    pub(crate) fn set_send_window(&self, window: Option<u64>) {
        if let Some(window) = window {
            self.connection.set_send_window(window);
        }
    }

    /// One more stream had no header or payload in time; how many so far.
    pub(super) fn header_late(&self) -> u64 {
        self.late.count();
        self.late.value()
    }
}

/// What becomes of a stream that a peer opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is served.
    Serve,
    /// It is refused.
    OverRate,
    /// The peer is disconnected.
    Flood,
}

/// One more stream of a peer in use, until this is dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<PeerLink>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}
