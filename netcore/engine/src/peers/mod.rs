//! Decisions about peers.

pub mod book;
pub mod candidates;
pub mod caps;
pub mod dial_error;
pub mod doors;
pub mod manager;
pub mod marks;
pub mod offenders;
pub mod plan;
pub mod score;
pub mod table;
pub mod trace;
