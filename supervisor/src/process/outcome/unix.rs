//! Names of signals.

use nix::sys::signal::Signal;

/// `SIGKILL` for 9; nothing for a number that has no name.
pub(super) fn signal_name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().map(Signal::as_str)
}
