//! The console, whose mode the editor alone restores.

/// Nothing to restore.
pub(in crate::cli::streams::chat) struct Mode;

impl Mode {
    pub(super) fn now() -> Self {
        Self
    }
}
