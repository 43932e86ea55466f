//! Where this node can be reached: [`finder`] chooses peers that dial it back and judges their answers, [`own`] signs
//! the address records that follow, [`probe_limits`] decides which peers are dialed back, [`wire`] is the protocol
//! `probe/1`. Netcore's `reach::driver` runs the first two, its `reach::prober` the third.

pub mod finder;
pub mod own;
pub mod probe_limits;
pub mod wire;
