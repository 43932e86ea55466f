//! Children without process groups: only the process itself is ended.

use std::path::Path;

use tokio::process::{Child, Command};

pub(super) fn prepare(_: &mut Command) {}

/// Nothing that could be signalled: the process is killed when its handle is dropped.
#[derive(Debug)]
pub(super) struct Group;

impl Group {
    pub(super) fn of(_: &Child) -> Self {
        Self
    }

    pub(super) fn terminate(&self) {}

    pub(super) fn kill(&self) {}
}

/// Whether a file can be run, with or without its `.exe`.
pub(super) fn is_program(path: &Path) -> bool {
    path.is_file() || path.with_extension("exe").is_file()
}

/// Waits until somebody ends this command: Ctrl-C.
pub(in crate::cli::streams) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
