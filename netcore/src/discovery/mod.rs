//! Ways to find nodes. Each reports what it found to [`crate::peers`], which verifies it by dialing; each is bounded, can
//! be switched off, and its troubles are shown in the status, never fatal.

pub mod crosscheck;
pub mod exchange;
pub mod lan;
pub mod schedule;
