//! One launch's gateway: a folder only that plugin sees, in it a listening socket, and the token. On Unix the
//! supervisor keeps the listener and gives a copy to each netcore, so that a connect is never refused while netcore
//! restarts; on Windows the socket is a pipe of a random name, which netcore makes.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::admin::AdminRequest;
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use polypeer_ipc_protocol::transport::admin::Handover;
#[cfg(unix)]
use unix::Socket;
#[cfg(windows)]
use windows::Socket;

use crate::files::create_private_folder;

/// One launch as netcore knows it. Dropping it removes the folder.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) number: u64,
    pub(super) plugin: PluginId,
    pub(super) token: Secret,
    pub(super) folder: PathBuf,
    socket: Socket,
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
        create_private_folder(&folder)?;
        let mut token = [0; 32];
        getrandom::fill(&mut token).map_err(|error| io::Error::other(error.to_string()))?;
        let socket = Socket::open(&folder)?;
        Ok(Self { number, plugin, token: Secret(token), folder, socket })
    }

    /// What a plugin connects to.
    pub(super) fn address(&self) -> PathBuf {
        self.socket.address(&self.folder)
    }

    /// As [`Self::address`], where `folder` is another path of its folder.
    pub(super) fn address_in(&self, folder: &Path) -> PathBuf {
        self.socket.address(folder)
    }

    /// How netcore is told, with the socket that it listens on.
    pub(super) fn announcement(&self, grants: &Grants) -> io::Result<(AdminRequest, Handover)> {
        let request = AdminRequest::AddLaunch {
            launch: self.number,
            plugin: self.plugin.clone(),
            token: self.token.clone(),
            grants: grants.clone(),
        };
        Ok((request, self.socket.handover()?))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
