//! The network core.

pub mod identity;
pub mod transport;
