//! Open files on Unix: the soft limit of a process may be raised to its hard limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's limit as far as it is allowed.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
    match raised {
        Ok(most) => tracing::debug!(most, "open files allowed"),
        Err(error) => tracing::warn!(%error, "cannot raise the number of open files; many streams may be refused"),
    }
}
