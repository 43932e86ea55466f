//! What this machine does for all children of a home together: finding and killing what is left of an earlier daemon,
//! and telling whether a process is a plugin's. `linux` does all of it, `plain` what it can elsewhere.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod plain;

#[cfg(target_os = "linux")]
pub use linux::internal_command;
#[cfg(target_os = "linux")]
pub(super) use linux::{
    Host, NOT_TAKEN, is_confined, is_root, is_traced, machine_memory, open_files_within, resident_bytes,
};
#[cfg(not(target_os = "linux"))]
pub use plain::internal_command;
#[cfg(not(target_os = "linux"))]
pub(super) use plain::{
    Host, NOT_TAKEN, is_confined, is_root, is_traced, machine_memory, open_files_within, resident_bytes,
};
