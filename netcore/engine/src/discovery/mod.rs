//! Which source of peers is asked when, and whom to believe.

pub mod crosscheck;
pub mod exchange;
pub mod schedule;
