//! The network core.

pub mod identity;
pub mod peers;
pub mod transport;
