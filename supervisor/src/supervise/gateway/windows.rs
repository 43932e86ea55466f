//! A gateway's pipe on Windows: a random name. Netcore makes the pipe, so there is none while netcore restarts.

use std::io;
use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::transport::admin::Handover;

use crate::home::random_pipe_name;

/// The name of a launch's pipe.
#[derive(Debug)]
pub(super) struct Socket(PathBuf);

impl Socket {
    /// Draws the name.
    pub(super) fn open(_folder: &Path) -> io::Result<Self> {
        Ok(Self(random_pipe_name()?))
    }

    /// What a plugin connects to.
    pub(super) fn address(&self, _folder: &Path) -> PathBuf {
        self.0.clone()
    }

    /// The name, for netcore.
    pub(super) fn handover(&self) -> io::Result<Handover> {
        Ok(self.0.clone())
    }
}
