//! Windows's names.

/// Where programs are when nothing says it.
pub(super) const PATH: &str = r"C:\Windows\System32;C:\Windows";
/// Without these, system libraries, sockets among them, do not load, and commands are not found.
pub(super) const INHERITED: &[&str] = &["SystemRoot", "SystemDrive", "ComSpec", "PATHEXT"];
/// The user's folder; `HOME` as plugins that look for it are written for both systems.
pub(super) const HOMES: &[&str] = &["HOME", "USERPROFILE"];
/// The folder of temporary files.
pub(super) const TEMPORARY: &[&str] = &["TEMP", "TMP", "TMPDIR"];
