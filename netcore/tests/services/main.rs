//! The network core's services as plugins see them, between real network cores on this machine: datagrams, gossip,
//! records, network events; each with its grant and without, and with plugins that do not read.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/mod.rs"]
mod common;

mod datagrams;
mod gossip;
mod grants;
mod moved;
#[path = "../moves/nat.rs"]
mod nat;
mod network;
mod records;
mod topics;
