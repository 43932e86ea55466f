//! The reach of this node. [`finder`] chooses peers to dial this node back and evaluates their answers; [`own`] signs
//! the address records that follow. [`probe_limits`] decides which peers this node dials back. [`wire`] is the protocol
//! `probe/1`. Netcore's `reach::driver` runs the first two, its `reach::prober` the third.

pub mod finder;
pub mod own;
pub mod probe_limits;
pub mod wire;
