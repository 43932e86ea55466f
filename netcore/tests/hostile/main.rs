//! Real network cores, as processes, under attack by a client of this test's own over real QUIC. Under each attack an
//! honest peer's calls go on, newcomers get in, memory stays under [`world::MEMORY`], and the offender is counted,
//! named and cut off.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/mod.rs"]
mod common;

mod attacker;
mod crash;
mod floods;
mod ghosts;
mod gossip;
mod handshakes;
mod messages;
mod queries;
mod records;
mod slow;
mod spoofed;
mod windows;
mod world;
