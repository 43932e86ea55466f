//! The network core.

pub mod discovery;
pub mod identity;
pub mod peers;
pub mod transport;
