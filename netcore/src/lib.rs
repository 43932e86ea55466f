//! The network core.
