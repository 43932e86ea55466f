//! The gateway client for Rust (in the next commit).
