//! Real network cores, as processes, with plugins on their gateways: what two plugins on two nodes, or on one, see of
//! each other, and what a plugin or a peer that breaks the rules can do to the others.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/mod.rs"]
mod common;

mod early;
mod ends;
mod fairness;
mod hostile;
mod kept;
mod liar;
mod refused;
mod restart;
mod shared;
mod stopping;
mod streams;
mod twins;
