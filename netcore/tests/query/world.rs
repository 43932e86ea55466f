//! Network cores inside the test, and waiting for what must happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_netcore::address::AddressRecord;
use polypeer_netcore::node::Node;
use polypeer_netcore::{Core, Options};
use tempfile::TempDir;

/// Long enough for anything here on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One network core.
pub struct World {
    pub core: Core,
    _home: TempDir,
}

impl World {
    /// On a loopback port of its own, open.
    pub async fn start() -> Self {
        Self::start_in("main").await
    }

    /// The same in another network.
    pub async fn start_in(network: &str) -> Self {
        let log = tracing_subscriber::fmt().with_test_writer().with_ansi(false).with_max_level(tracing::Level::WARN);
        let _ = log.try_init(); // another test of this process may have been first
        let home = tempfile::tempdir().expect("temporary folder");
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let options =
            Options { listen, lan: false, network: network.to_owned(), ..Options::new(home.path().to_owned()) };
        let core = Core::bind(options).await.expect("bind");
        core.open();
        Self { core, _home: home }
    }

    pub fn id(&self) -> NodeId {
        self.core.node.id
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.core.node
    }

    pub fn address(&self) -> SocketAddr {
        self.core.peers.transport().local_addresses()[0]
    }

    /// Its query connections: out, in.
    pub fn queries(&self) -> (usize, usize) {
        self.core.node.services().queries.connections()
    }

    /// How many nodes are in its hash table.
    pub async fn contacts(&self) -> usize {
        self.core.node.services().dht.stats().await.contacts
    }

    /// Its own address records.
    pub fn own(&self) -> Vec<Arc<AddressRecord>> {
        self.core.node.services().reach.own().borrow().clone()
    }

    /// A link, kept by both sides.
    pub async fn connect(&self, to: &Self) -> quinn::Connection {
        self.core.peers.connect(to.id(), &[to.address()], deadline()).await.expect("connected")
    }
}

pub fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

pub fn protocol(name: &str) -> Protocol {
    name.parse().expect("a protocol")
}

/// Polls until `check` gives something.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = deadline();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
