//! The polypeer command.
fn main() {}
