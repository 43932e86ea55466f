//! The listening sockets of plugins: adopts the one that the supervisor hands over, and accepts connections on it.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Listener, ReadHalf, WriteHalf, accept, adopt};
#[cfg(windows)]
pub use windows::{Listener, ReadHalf, WriteHalf, accept, adopt};
