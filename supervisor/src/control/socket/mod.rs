//! The control socket itself: listening, accepting and connecting.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Listener, ReadHalf, Stream, WriteHalf, accept, connect, listen, split};
#[cfg(windows)]
pub(crate) use windows::{Listener, ReadHalf, Stream, WriteHalf, accept, connect, listen, split};
