//! `polypeer-sim`: thousands of nodes in one thread.

fn main() {}
