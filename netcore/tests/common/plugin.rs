//! A plugin's launch, and its session.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::{Client, DataStream, Events};
use polypeer_ipc_protocol::gateway::{Event, Grants};
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use tempfile::TempDir;

use super::{Netcore, within};

/// What the supervisor knows of a launch: it keeps the listening descriptor.
pub struct Launch {
    pub number: u64,
    pub id: PluginId,
    pub token: Secret,
    pub grants: Grants,
    pub socket: PathBuf,
    pub listener: OwnedFd,
    _folder: TempDir,
}

impl Launch {
    pub fn new(plugin: &str, grants: Grants) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("gateway.sock");
        let listener = UnixListener::bind(&socket).unwrap().into();
        let mut token = [7; 32];
        token[..8].copy_from_slice(&number.to_le_bytes());
        Self { number, id: plugin.parse().unwrap(), token: Secret(token), grants, socket, listener, _folder: folder }
    }

    pub async fn add_to(&self, netcore: &Netcore) {
        let request = AdminRequest::AddLaunch {
            launch: self.number,
            plugin: self.id.clone(),
            token: self.token.clone(),
            grants: self.grants.clone(),
        };
        assert_eq!(netcore.ask_with(request, Some(&self.listener)).await, AdminResponse::Done);
    }

    pub async fn connect(self) -> Plugin {
        let (client, events) =
            within("a session", Client::connect(&self.socket, self.token.clone())).await.expect("a session");
        Plugin { client, events, launch: self }
    }
}

/// A plugin with its session.
pub struct Plugin {
    pub client: Client,
    pub events: Events,
    pub launch: Launch,
}

impl Plugin {
    /// The next event.
    pub async fn event(&mut self) -> Event {
        within("an event", self.events.next()).await.expect("the session stands")
    }

    /// The next announced stream, claimed.
    pub async fn accept(&mut self) -> DataStream {
        match self.event().await {
            Event::Stream { stream, .. } => within("a claim", self.client.accept(stream)).await.expect("claimed"),
            other => panic!("{other:?}"),
        }
    }
}
