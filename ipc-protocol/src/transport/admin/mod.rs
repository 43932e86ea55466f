//! The transport of the admin session between the supervisor and the netcore it started: frames both ways, each with at
//! most one gateway attached ([`Handover`]).
//!
//! The session is inherited, never found by a path or a name: a socket pair on Unix, whose child end is descriptor 3
//! and whose frames carry listening sockets; two anonymous pipes on Windows, the child's stdin and stdout, whose frames
//! carry names of pipes for the child to listen on.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{AdminChannel, AdminEnd, AdminReceiver, AdminSender, Handover, inherited};
#[cfg(windows)]
pub use windows::{AdminChannel, AdminEnd, AdminReceiver, AdminSender, Handover, inherited};
