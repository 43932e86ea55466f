//! Where streams and calls of plugins go.

pub mod calls;
pub mod router;
