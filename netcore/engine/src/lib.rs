//! The engine: the decisions of Polypeer's network core, as state machines without input, output or a clock.
//!
//! ```text
//!   module     decides                                                         driven in a node by netcore's
//!   gateway    router: which session serves a protocol; calls: pending calls   gateway
//!   link       credit: flow control of one direction of a stream               link, streams
//!   dht        lookups, the routing table, records stored for other nodes      dht::driver
//!   gossip     neighbours, broadcast trees and repair of each topic            gossip::driver
//!   discovery  schedule of the sources, peer exchange, crosscheck of seeds     discovery::driver
//!   reach      finder: probes of this node's addresses; its address records;   reach::driver,
//!              probe limits: which peers are dialed back                       reach::prober
//!   query      admission: which question on a query connection is answered     query
//!   peers      manager: which peers to dial, accept and disconnect, by book    peers
//!              and scores; handshake gate, tie-break, dial plan and trace
//!   ─────────────────────────────────────────────────────────────────────────────────────────────────────
//!   source (sources of peers) · address (signed address records, zones, subnets) · socket_address (its forms)
//!   rate (token buckets) · keys (signatures) · now (the time) · bounded (lists from a wire)
//! ```
//!
//! Modules above the line use those below it; `reach` also what `peers` counts as one host. The gateway's and the admin
//! session's types are in `polypeer-ipc-protocol`; the bytes between peers are specified in `PROTOCOL.md`, and each
//! protocol's `wire` module encodes them.
//!
//! **How a driver runs a state machine.** It reports what happened with `handle_*` and commands. It calls `poll`, which
//! returns one thing to do at a time, until nothing is left. `next_timeout` says when to call `handle_timeout`. Besides
//! netcore, `polypeer-sim` runs thousands of state machines in one thread and virtual time, and `polypeer-fuzz` feeds
//! them random sequences of inputs.
//!
//! **What each promises.** Time is an argument ([`now::Now`]); randomness comes from a random seed given to `new`,
//! signatures from [`keys::Keys`]. The same calls with the same random seed give the same results. Memory is bounded
//! whatever peers send, and nothing is allocated by a length that a peer claims. `clippy.toml` forbids reading the
//! clock, and `tests/dependencies.rs` forbids crates that do input or output.

pub mod address;
pub mod bounded;
pub mod dht;
pub mod discovery;
#[cfg(test)]
mod examples;
pub mod gateway;
pub mod gossip;
pub mod keys;
pub mod link;
pub mod now;
pub mod peers;
pub mod query;
pub mod rate;
pub mod reach;
pub mod socket_address;
pub mod source;
#[cfg(test)]
mod testing;
