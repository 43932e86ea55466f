//! The peer policy: which peers this node dials, accepts, keeps and disconnects. Netcore's `peers` holds one of each
//! behind its lock and performs what they decide.
//!
//! ```text
//!  found, operator, score ──► manager (book, candidates, caps, watermarks, score) ──► dial, close
//!  incoming packet ──► handshake_gate ──► handshake ──► table ──► the one connection that is kept
//!  dial ──► plan ──► attempts ──► trace (dial_error), offenders ──► reports to the operator and to plugins
//!  clocks (this node's against its peers'), twins (another node with this identity) ──► warnings
//! ```

pub mod book;
pub mod candidates;
pub mod caps;
pub mod clocks;
pub mod dial_error;
pub mod handshake_gate;
pub mod manager;
pub mod offenders;
pub mod plan;
pub mod score;
pub mod table;
pub mod trace;
pub mod twins;
pub mod watermarks;
