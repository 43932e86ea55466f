//! The index of a simulated node.

/// Index in the world's list of nodes. An index is never reused.
pub type NodeIndex = u32;
