//! The control socket itself: listening, accepting and connecting.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{CAN_BE_REMOVED, Listener, ReadHalf, Stream, WriteHalf, accept, connect, is_at, listen, split};
#[cfg(windows)]
pub(crate) use windows::{
    CAN_BE_REMOVED, Listener, ReadHalf, Stream, WriteHalf, accept, connect, is_at, listen, split,
};
