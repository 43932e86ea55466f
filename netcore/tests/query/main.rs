//! Whole network cores on loopback, over real QUIC, without supervisors: what they ask of each other.

#![allow(unreachable_pub, dead_code, reason = "each test uses a part of the world")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod connections;
mod ipv6;
#[path = "../common/patience.rs"]
mod patience;
mod questions;
mod reach;
mod table;
mod world;
