//! Polypeer's daemon and command line: installs plugins, grants them what the operator allows, spawns, limits and
//! restarts them, and runs the network core.

pub mod config;
pub mod home;
pub mod install;
pub mod manifest;
pub mod store;
pub mod toml_file;
