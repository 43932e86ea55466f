//! Limits on the streams of one link: how many the peer may open, how fast, and their windows.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use quinn::VarInt;

use super::PeerLink;
use super::credit::Credit;
use crate::limits::{FRAME_STREAMS, FREE_STREAMS, LINK_WINDOW};

impl PeerLink {
    /// Registers a stream, so that `Credit` frames for it are applied.
    pub(super) fn register(&self, stream: u64) -> Arc<Credit> {
        Arc::clone(self.state().streams.entry(stream).or_default())
    }

    pub(super) fn unregister(&self, stream: u64) {
        let mut state = self.state();
        state.streams.remove(&stream);
        state.credits.remove(&stream);
    }

    /// Sends credit: the peer may send up to `limit` bytes of the stream in all.
    pub(crate) fn grant(&self, stream: u64, limit: u64) {
        self.state().credits.insert(stream, limit);
        self.to_send.notify_one();
    }

    /// Counts a stream of the peer as in use until the result is dropped. The peer may then open one stream more.
    pub(super) fn stream_in_use(self: &Arc<Self>) -> InUse {
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.allow_streams(in_use + FREE_STREAMS);
        InUse(Arc::clone(self))
    }

    /// Counts a stream of frames until [`Self::leave_frames`]; `false` when there are [`FRAME_STREAMS`] already.
    pub(super) fn enter_frames(&self) -> bool {
        let entered = self
            .frames
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < FRAME_STREAMS).then_some(count + 1));
        entered.is_ok()
    }

    pub(super) fn leave_frames(&self) {
        self.frames.fetch_sub(1, Ordering::AcqRel);
    }

    /// Decides whether to serve a stream that the peer opened.
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

    /// Gives the token of a useful stream back, so that it does not count against the peer.
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

    /// Widens the receive window to [`LINK_WINDOW`], once the peer's `Hello` has arrived.
    pub(super) fn open_window(&self) {
        self.set_receive_window(LINK_WINDOW);
    }

    /// Grows the receive window of a plugin's stream by `more` bytes. `false` when the node's budget does not allow it.
    pub(crate) fn widen(&self, more: u64) -> bool {
        self.windows.grow(more, |window| self.set_receive_window(window))
    }

    /// Sets QUIC's receive window. `bytes` only ever grows: QUIC adds each growth to what the peer may send.
    pub(super) fn set_receive_window(&self, bytes: u64) {
        self.connection.set_receive_window(VarInt::from_u64(bytes).unwrap_or(VarInt::MAX));
    }

    /// Sets QUIC's send window, if `window` is a new size in bytes.
    pub(crate) fn set_send_window(&self, window: Option<u64>) {
        if let Some(window) = window {
            self.connection.set_send_window(window);
        }
    }

    /// Counts a stream whose header or payload did not arrive in time. Returns the count so far.
    pub(super) fn header_late(&self) -> u64 {
        self.late.count();
        self.late.value()
    }
}

/// The decision on a stream that a peer opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Serve the stream.
    Serve,
    /// Refuse the stream.
    OverRate,
    /// Disconnect the peer.
    Flood,
}

/// A stream of a peer that counts as in use until this is dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<PeerLink>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}
