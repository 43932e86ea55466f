//! One machine, asked this and that: what it answers, refuses and counts.
