//! Which peers this node has: whom it dials, accepts, keeps and drops. Netcore's `peers` holds one of each behind its
//! lock and performs what they decide.
//!
//! ```text
//!  found, operator, score ──► manager (book, candidates, caps, marks, score) ──► dial, close
//!  incoming packet ──► doors ──► handshake ──► table ──► the one connection that is kept
//!  dial ──► plan ──► attempts ──► trace (dial_error), offenders ──► what the operator and plugins are told
//! ```

pub mod book;
pub mod candidates;
pub mod caps;
pub mod dial_error;
pub mod handshake_gate;
pub mod manager;
pub mod offenders;
pub mod plan;
pub mod score;
pub mod table;
pub mod trace;
pub mod watermarks;
