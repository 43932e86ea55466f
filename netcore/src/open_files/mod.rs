//! How many files and sockets this process may have open: every data connection of every plugin is one.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::raise;
#[cfg(windows)]
pub use windows::raise;
