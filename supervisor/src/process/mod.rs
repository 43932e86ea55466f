//! Child processes: spawning them confined, watching them, and killing everything that they started.
//!
//! ```text
//!  supervise ──► spawn ──► fork_server ──► polypeer internal-init (forks an init for each child)
//!      ▲           │                           └─► init, 1st stage (joins groups, makes namespaces, exits)
//!      │           │                                 └─► 2nd stage (PID 1 there: mounts, limits, reaps)
//!      │         watch ◄───────── reports ─────────────┤  socket pair: lifeline, orders, reports
//!      └── ChildEvent                                  └─► the plugin, or netcore
//! ```
//!
//! A process with threads must not run much code between fork and exec, so everything beyond plain spawning is done by
//! a single-threaded program: this same binary, run once as a fork server.
//!
//! `outcome` says how a child ended. The init is Linux's. Elsewhere `plain` starts a child directly, and reports each
//! measure of confinement as not applied.

pub(crate) mod capture;
#[cfg(target_os = "linux")]
pub(crate) mod channel;
#[cfg(target_os = "linux")]
pub(crate) mod fork_server;
#[cfg(target_os = "linux")]
pub mod init;
pub(crate) mod launch;
pub(crate) mod log;
#[cfg(target_os = "linux")]
pub(crate) mod message;
mod outcome;
#[cfg(not(target_os = "linux"))]
pub(crate) mod plain;
#[cfg(target_os = "linux")]
pub(crate) mod spawn;
#[cfg(target_os = "linux")]
pub(crate) mod watch;

pub use outcome::{Ended, Outcome};
#[cfg(not(target_os = "linux"))]
pub(crate) use plain::{Groups, Watched, watch};
#[cfg(target_os = "linux")]
pub(crate) use spawn::Groups;
#[cfg(target_os = "linux")]
pub(crate) use watch::{Watched, watch};
