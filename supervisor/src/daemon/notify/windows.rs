//! Windows: the daemon does not run as a service yet, so there is nobody to tell.

/// Does nothing.
pub(crate) fn tell(_state: &str) {}

/// Nobody asks.
pub(crate) fn watchdog() -> Option<std::time::Duration> {
    None
}
