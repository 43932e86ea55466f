//! A gateway's socket on Unix. The supervisor listens and gives a copy of the listener to each netcore.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::transport::admin::Handover;

/// A listening socket in a launch's folder.
#[derive(Debug)]
pub(super) struct Socket(UnixListener);

impl Socket {
    /// Listens in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(UnixListener::bind(folder.join("gateway.sock"))?))
    }

    /// What a plugin connects to, where `folder` is the launch's.
    pub(super) fn address(&self, folder: &Path) -> PathBuf {
        folder.join("gateway.sock")
    }

    /// A copy for netcore.
    pub(super) fn handover(&self) -> io::Result<Handover> {
        Ok(self.0.try_clone()?.into())
    }
}
