//! Polypeer's daemon and command line: installs plugins, grants them what the operator allows, spawns, limits and
//! restarts them, and runs the network core.

pub mod config;
pub mod home;
pub mod install;
pub mod limits;
pub mod manifest;
pub mod netcore;
pub mod process;
pub mod reaper;
pub mod store;
pub mod supervise;
pub mod toml_file;
