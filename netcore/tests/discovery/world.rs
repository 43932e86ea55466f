//! Network cores without a supervisor, on 127.0.0.1 or where a test says, in homes of their own.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use polypeer_ipc_protocol::admin::{PeerRecord, SourceStatus};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use polypeer_netcore::{Core, Options};
use tempfile::TempDir;

use crate::patience::within;

/// Waits until `check` gives something, which it may after any change that a node of `worlds` tells of.
pub(crate) async fn until<T>(worlds: &[&World], what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let mut changes: Vec<_> = worlds.iter().map(|world| world.core.services.discovery.changes()).collect();
    let waiting = async {
        loop {
            if let Some(found) = check() {
                return found;
            }
            let mut next: Vec<_> = changes.iter_mut().map(|changes| Box::pin(changes.changed())).collect();
            poll_fn(|context| {
                let is_ready = next.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
                if is_ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    };
    within(what, waiting).await
}

/// No source but those a test turns on.
pub(crate) fn nothing() -> DiscoverySettings {
    DiscoverySettings::none()
}

/// A node that is open.
pub(crate) struct World {
    pub(crate) core: Core,
    _home: TempDir,
}

impl World {
    pub(crate) async fn start(discovery: DiscoverySettings, network: &str) -> Self {
        Self::start_at(&["127.0.0.1:0"], discovery, network).await
    }

    pub(crate) async fn start_at(listen: &[&str], discovery: DiscoverySettings, network: &str) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let listen = listen.iter().map(|address| address.parse().expect("an address")).collect();
        let network = network.parse().expect("a network name");
        let settings = NetSettings { listen, discovery, network, ..NetSettings::default() };
        let (core, _) = Core::bind(Options::new(home.path().to_owned()), settings).await.expect("bound");
        core.open();
        Self { core, _home: home }
    }

    /// Waits until `check` gives something, looking again after every change that the node tells of.
    pub(crate) async fn until<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        until(&[self], what, check).await
    }

    /// Waits until it is connected to `other`.
    pub(crate) async fn meets(&self, other: &Self) -> PeerRecord {
        self.until("they meet", || self.knows(other)).await
    }

    pub(crate) fn id(&self) -> NodeId {
        self.core.node.id
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.core.peers.transport().local_addresses()[0]
    }

    pub(crate) fn knows(&self, other: &Self) -> Option<PeerRecord> {
        self.core.peers.connection(&other.id())?;
        self.core.peers.records().into_iter().find(|record| record.node == other.id())
    }

    pub(crate) fn source(&self, name: &str) -> SourceStatus {
        let sources = self.core.services.discovery.sources();
        sources.into_iter().find(|source| source.name == name).expect("every source is listed")
    }
}
