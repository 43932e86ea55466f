//! Unix's names.

/// Where programs are when nothing says it.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Nothing that every program needs.
pub(super) const INHERITED: &[&str] = &[];
/// The user's folder.
pub(super) const HOMES: &[&str] = &["HOME"];
/// The folder of temporary files.
pub(super) const TEMPORARY: &[&str] = &["TMPDIR"];
