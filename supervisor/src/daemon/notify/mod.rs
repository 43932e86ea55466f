//! Tells the service manager how far the daemon is.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{tell, watchdog};
#[cfg(windows)]
pub(super) use windows::{tell, watchdog};
