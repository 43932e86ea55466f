//! Whether a file is still what it was when it was opened.

use std::path::Path;

use crate::cli_error::CliError;
use crate::files::{self, FileState};
use crate::manifest::values::shown_size;

/// Checks that a file is as it was when it was opened.
///
/// # Errors
/// When it was written to, replaced or removed.
pub(super) fn unchanged(path: &Path, before: FileState) -> Result<(), CliError> {
    match path.metadata() {
        Ok(metadata) if files::state(&metadata) == before => Ok(()),
        _ => Err(changed(path)),
    }
}

/// The error for a file that was written to, replaced or removed.
pub(super) fn changed(path: &Path) -> CliError {
    let now =
        path.metadata().map_or_else(|_| "it is gone".into(), |now| format!("it has {} now", shown_size(now.len())));
    let message = format!("{} changed while it was read ({now}); nothing of it is offered", path.display());
    CliError::failed(message, "send it again when nothing writes to it, or send a copy")
}
