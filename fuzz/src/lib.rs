//! Fuzz targets: functions over bytes, one for each decoder of untrusted input and one for each state machine, which
//! reads its bytes as a sequence of operations. A target panics on a fault.
//!
//! ```text
//! TARGETS ──► tests/smoke.rs        every seed, mutations of it and random bytes: part of `cargo test`
//!        ├──► src/main.rs           the same by hand: one target, a longer run, the input of a crash
//!        └──► libfuzzer/            a workspace of its own: libFuzzer's coverage-guided search (CONTRIBUTING.md)
//! ```
//!
//! [`decoders`] and [`machines`] hold the targets, [`samples`] their seed inputs; [`choices`] reads an input as operations,
//! with the [`keys`] of its nodes, and [`run`] mutates inputs.

#![allow(clippy::panic, reason = "a target fails by panicking")]

pub mod choices;
pub mod decoders;
pub mod keys;
pub mod machines;
pub mod run;
pub mod samples;

#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Runs it on one input; panics on a fault.
    pub run: fn(&[u8]),
    /// Meaningful first inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Number of random inputs in a smoke run.
    pub rounds: u32,
}

/// Inputs of a decoder in a smoke run.
const MANY: u32 = 3000;
/// Inputs of a state machine in a smoke run.
const SOME: u32 = 300;
/// Inputs of a slow state machine in a smoke run.
const FEW: u32 = 60;

const fn decoder(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, rounds: MANY }
}

const fn machine(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, seeds: samples::stories, rounds: SOME }
}

const fn slow_machine(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, seeds: samples::stories, rounds: FEW }
}

pub const TARGETS: &[Target] = &[
    decoder("gateway-opening", decoders::gateway::opening, samples::openings),
    decoder("gateway-client", decoders::gateway::client_frame, samples::client_frames),
    decoder("gateway-server", decoders::gateway::server_frame, samples::server_frames),
    decoder("gateway-data", decoders::gateway::data_frames, samples::data_frames),
    decoder("admin", decoders::gateway::admin, samples::admin_frames),
    #[cfg(feature = "all")]
    decoder("link-control", decoders::link::control, samples::link::control_frames),
    #[cfg(feature = "all")]
    decoder("link-stream", decoders::link::stream, samples::link::stream_headers),
    #[cfg(feature = "all")]
    decoder("link-datagram", decoders::link::datagram, samples::link::datagrams),
    #[cfg(feature = "all")]
    decoder("envelope", decoders::link::envelope, samples::link::datagrams),
    decoder("kad", decoders::services::kad, samples::kad),
    decoder("exchange", decoders::services::exchange, samples::exchange),
    decoder("probe", decoders::services::probe, samples::probes),
    decoder("gossip-frames", decoders::services::gossip, samples::gossip_frames),
    decoder("address-record", decoders::services::address_record, samples::address_records),
    decoder("text", decoders::text::names, samples::names),
    #[cfg(feature = "all")]
    decoder("manifest", decoders::files::manifest, samples::manifests),
    #[cfg(feature = "all")]
    decoder("config", decoders::files::config, samples::configs),
    #[cfg(feature = "all")]
    decoder("file-link", decoders::files::file_link, samples::file_links),
    machine("session", machines::session::both_ends),
    slow_machine("session-server", machines::session::server),
    machine("credit", machines::small::credit),
    machine("router", machines::small::router),
    machine("rate", machines::small::rate),
    machine("table", machines::peers::table),
    machine("plan", machines::peers::plan),
    slow_machine("book", machines::peers::book),
    slow_machine("manager", machines::peers::manager),
    machine("schedule", machines::discovery::schedule),
    machine("crosscheck", machines::discovery::crosscheck),
    machine("exchange-machine", machines::discovery::exchange),
    machine("reach", machines::discovery::reach),
    slow_machine("dht", machines::dht::one),
    slow_machine("gossip", machines::gossip::one),
];
