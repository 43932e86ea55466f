//! Children: spawning them confined, watching them, and making sure that nothing of them stays.
//!
//! ```text
//!  supervise ──► spawn ──► polypeer internal-init (1st stage: makes namespaces, exits)
//!      ▲           │             └─► polypeer internal-init second (PID 1 there: mounts, limits, reaps)
//!      │         watch ◄── reports ──────┤  socket pair: lifeline, orders, reports
//!      └── ChildEvent                    └─► the plugin, or netcore
//! ```
//!
//! A process with threads must not run much code between fork and exec, so everything beyond plain spawning is done
//! by the init, a single-threaded program: this same binary.

pub(crate) mod capture;
pub(crate) mod channel;
pub mod init;
pub(crate) mod log;
pub(crate) mod message;
mod outcome;
pub(crate) mod spawn;
pub(crate) mod watch;

pub use outcome::{Ended, Outcome};
