//! Polypeer's daemon and command line: installs plugins, grants them what the operator allows, spawns, limits and
//! restarts them, and runs the network core.
//!
//! ```text
//!  cli ──► control::client ──socket──► control::server ──► daemon ──► supervise (children), store, install
//!   └────► operator ──gateway──► netcore
//! ```

pub mod cli;
pub mod cli_error;
pub mod config;
pub mod control;
pub mod daemon;
pub mod home;
pub mod install;
pub mod limits;
pub mod manifest;
pub mod netcore;
pub mod output;
pub mod process;
pub mod reaper;
pub mod store;
pub mod supervise;
pub mod toml_file;
