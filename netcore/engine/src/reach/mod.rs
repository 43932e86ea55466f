//! Where a node can be reached.

pub mod finder;
pub mod own;
pub mod wire;
