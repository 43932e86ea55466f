//! The decisions of Polypeer's network core, as state machines without input, output or a clock.
//!
//! ```text
//!   module     decides                                                         driven in a node by netcore's
//!   gateway    router: who serves a protocol; calls: shares of pending calls   gateway
//!   link       credit: flow control of one direction of a stream               link, streams
//!   dht        lookups, the routing table, records stored for other nodes      dht::driver
//!   gossip     neighbours, broadcast trees and repair of each topic            gossip::driver
//!   discovery  schedule of the sources, peer exchange, crosscheck of seeds     discovery::driver
//!   reach      finder: whom to ask for a probe; this node's address records;   reach::driver,
//!              whose request for a probe is served                             reach::prober
//!   query      admission: whose question is answered now                       query
//!   peers      manager: whom to dial, accept and drop, with book and scores;   peers
//!              table, plan, doors, trace of dials and handshakes
//!   ─────────────────────────────────────────────────────────────────────────────────────────────────────
//!   source (sources of peers) · address (signed address records, zones, subnets) · socket_address (forms of one address)
//!   rate (token buckets) · keys (signatures) · now (the time) · bounded (lists from a wire)
//! ```
//!
//! Modules above the line use those below it; `reach` also what `peers` counts as one host. The gateway's and the admin
//! session's types are in `polypeer-ipc-protocol`; the bytes between peers are specified in `PROTOCOL.md`, and each
//! protocol's `wire` module encodes them.
//!
//! **How a machine is driven.** `handle_*` and commands take what happened; `poll` returns what to do until there is
//! nothing more; `next_timeout` says when to call `handle_timeout`. Besides netcore, `polypeer-sim` drives thousands of
//! them in one thread and virtual time, and `polypeer-fuzz` feeds them sequences of anything.
//!
//! **What each promises.** Time is an argument ([`now::Now`]); randomness comes from a seed given to `new`, signatures from
//! [`keys::Keys`]. The same calls with the same seed give the same results. Memory is bounded whatever peers send, and
//! nothing is allocated by a length that a peer told. `clippy.toml` rejects the clock, and `tests/dependencies.rs` every
//! crate that does input or output.

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
