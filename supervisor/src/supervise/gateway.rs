//! One launch's gateway: a folder only that plugin sees, in it a listening socket, and the token. The supervisor keeps
//! the listener and gives a copy to each netcore, so that a connect is never refused while netcore restarts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::admin::AdminRequest;
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{PluginId, Secret};

/// One launch as netcore knows it. Dropping it removes the folder.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) number: u64,
    pub(super) plugin: PluginId,
    pub(super) token: Secret,
    pub(super) folder: PathBuf,
    listener: UnixListener,
}

/// The folder of all gateways of a home.
pub(super) fn folder_of_all(sockets: &Path) -> PathBuf {
    sockets.join("gateway")
}

impl Gateway {
    /// Makes the folder and listens.
    pub(super) fn open(sockets: &Path, number: u64, plugin: PluginId) -> io::Result<Self> {
        let folder = folder_of_all(sockets).join(number.to_string());
        // A number is used once; what is there is from an earlier daemon.
        let _ = fs::remove_dir_all(&folder);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut token = [0; 32];
        getrandom::fill(&mut token).map_err(|error| io::Error::other(error.to_string()))?;
        let listener = UnixListener::bind(folder.join("gateway.sock"))?;
        Ok(Self { number, plugin, token: Secret(token), folder, listener })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("gateway.sock")
    }

    /// How netcore is told, with a copy of the listener.
    pub(super) fn announcement(&self, grants: &Grants) -> io::Result<(AdminRequest, OwnedFd)> {
        let request = AdminRequest::AddLaunch {
            launch: self.number,
            plugin: self.plugin.clone(),
            token: self.token.clone(),
            grants: grants.clone(),
        };
        Ok((request, self.listener.as_fd().try_clone_to_owned()?))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
