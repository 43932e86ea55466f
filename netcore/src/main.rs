//! The network core process.
fn main() {}
