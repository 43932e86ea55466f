//! What tells the daemon from outside to stop or to read its configuration again: signals on Unix, the console's events
//! on Windows.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Signals, ignores_hangup};
#[cfg(windows)]
pub(crate) use windows::Signals;

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Stop,
    #[cfg_attr(windows, allow(dead_code, reason = "the console has no event for it"))]
    Reload,
}
