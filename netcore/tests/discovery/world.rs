//! Network cores without a supervisor, on 127.0.0.1 or where a test says, in homes of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{PeerRecord, SourceStatus};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::discovery::config::DiscoveryConfig;
use polypeer_netcore::{Core, Options};
use tempfile::TempDir;

/// How long anything may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `check` gives something.
pub(crate) async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// No source but those a test turns on.
pub(crate) fn nothing() -> DiscoveryConfig {
    DiscoveryConfig {
        remembered: false,
        lan: false,
        dns_seeds: Vec::new(),
        resolver: None,
        builtin: false,
        list: Vec::new(),
        exchange: false,
        dht: false,
        mainline: None,
    }
}

/// A node that is open.
pub(crate) struct World {
    pub(crate) core: Core,
    _home: TempDir,
}

impl World {
    pub(crate) async fn start(discovery: DiscoveryConfig, network: &str) -> Self {
        Self::start_at(&["127.0.0.1:0"], discovery, network).await
    }

    pub(crate) async fn start_at(listen: &[&str], discovery: DiscoveryConfig, network: &str) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let listen = listen.iter().map(|address| address.parse().expect("an address")).collect();
        let network = network.to_owned();
        let options = Options { listen, discovery, network, ..Options::new(home.path().to_owned()) };
        let core = Core::bind(options).await.expect("bound");
        core.open();
        Self { core, _home: home }
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
        let sources = self.core.node.sources();
        sources.into_iter().find(|source| source.name == name).expect("every source is listed")
    }
}
