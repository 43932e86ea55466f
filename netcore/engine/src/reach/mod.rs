//! Where this node can be reached: [`finder`] chooses peers that dial it back and judges their answers, [`own`] signs
//! the address records that follow, [`wire`] is the protocol `probe/1`. Netcore's `reach::driver` runs them; dialing others
//! back is input and output, and netcore's own.

pub mod finder;
pub mod own;
pub mod wire;
