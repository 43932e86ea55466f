//! Network cores inside the test, and waiting for what must happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use polypeer_netcore::identity::Identity;
use polypeer_netcore::node::Node;
use polypeer_netcore::services::Services;
use polypeer_netcore::transport::{Choice, Transport};
use polypeer_netcore::{Core, Options};
use tempfile::TempDir;

use crate::patience::{PATIENCE, within};

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
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), network).await
    }

    /// The same at an address.
    pub async fn start_at(listen: SocketAddr, network: &str) -> Self {
        let log = tracing_subscriber::fmt().with_test_writer().with_ansi(false).with_max_level(tracing::Level::WARN);
        let _ = log.try_init(); // another test of this process may have been first
        let home = tempfile::tempdir().expect("temporary folder");
        let listen = vec![listen];
        let network = network.parse().expect("a network name");
        let discovery = DiscoverySettings { lan: false, ..DiscoverySettings::default() };
        let settings = NetSettings { listen, network, discovery, ..NetSettings::default() };
        let (core, _) = Core::bind(Options::new(home.path().to_owned()), settings).await.expect("bind");
        core.open();
        Self { core, _home: home }
    }

    pub fn id(&self) -> NodeId {
        self.core.node.id
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.core.node
    }

    pub fn services(&self) -> &Services {
        &self.core.services
    }

    pub fn address(&self) -> SocketAddr {
        self.core.peers.transport().local_addresses()[0]
    }

    /// Its query connections: out, in.
    pub fn queries(&self) -> (usize, usize) {
        self.core.services.queries.connections()
    }

    /// Waits until so many nodes are in its hash table.
    pub async fn has_contacts(&self, count: usize) {
        let mut stats = self.core.services.dht.stats();
        within("a contact", stats.wait_for(|stats| stats.contacts >= count)).await.expect("it runs");
    }

    /// Its own address records, once it has any.
    pub async fn own(&self) -> Vec<Arc<AddressRecord>> {
        let mut own = self.core.services.reach.own();
        within("an own record", own.wait_for(|own| !own.is_empty())).await.expect("it runs").clone()
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

/// A node's transport and nothing else: the test speaks for it.
pub fn stranger() -> (NodeId, Transport) {
    let identity = Identity::generate();
    let listen = [SocketAddr::from(([127, 0, 0, 1], 0))];
    let (transport, _) = Transport::bind(&identity, &listen, Choice::Explicit, PATIENCE).expect("bind");
    (identity.node(), transport)
}
