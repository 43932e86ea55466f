//! Whoever reads this process's stdout. Commands that last end when nobody does any more.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::gone;
#[cfg(windows)]
pub(crate) use windows::gone;
