//! Stderr on Windows.

/// Whether stderr is a stream of systemd's journal, which is Linux's.
pub(crate) fn is_journal() -> bool {
    false
}
