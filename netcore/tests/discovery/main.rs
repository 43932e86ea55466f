//! How nodes find each other, source by source: real network cores inside the test, over real QUIC on loopback.

#![allow(unreachable_pub, reason = "the name server serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod dns;
mod full;
mod lan;
mod liar;
#[path = "../common/names.rs"]
mod names;
#[path = "../common/patience.rs"]
mod patience;
mod seeds;
mod world;
