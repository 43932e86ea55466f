//! What a node does for its plugins and its peers beyond carrying streams: each is a machine with a driver, started here;
//! the rest of the node talks to their handles.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::dht::{self, DhtHandle};
use crate::discovery::config::DiscoveryConfig;
use crate::discovery::{self, Discovery};
use crate::gateway;
use crate::gossip::{self, driver::GossipHandle};
use crate::node::Node;
use crate::query::{self, Queries};
use crate::reach::{self, ReachHandle};

/// The handles.
#[derive(Debug, Default)]
pub struct Services {
    /// Questions between netcores.
    pub queries: Queries,
    /// The hash table.
    pub dht: DhtHandle,
    /// Where this node can be reached.
    pub reach: ReachHandle,
    /// Publish and subscribe.
    pub gossip: GossipHandle,
    /// Finding peers.
    pub discovery: Discovery,
}

impl Services {
    /// How they fare, as numbers by name: those that are not zero.
    pub async fn counters(&self) -> Vec<(String, u64)> {
        let dht = self.dht.stats().borrow().clone();
        let gossip = self.gossip.stats().await;
        let all = [
            ("query_connections_out", self.queries.connections().0 as u64),
            ("query_connections_in", self.queries.connections().1 as u64),
            ("dht_contacts", dht.contacts as u64),
            ("dht_table_bytes", dht.table_bytes as u64),
            ("dht_records", dht.records as u64),
            ("dht_record_bytes", dht.record_bytes as u64),
            ("dht_providers", dht.providers as u64),
            ("dht_commands_dropped", self.dht.dropped()),
            ("gossip_topics", gossip.topics as u64),
            ("gossip_bytes", gossip.bytes as u64),
            ("gossip_names", gossip.names as u64),
            ("gossip_published", gossip.published),
            ("gossip_delivered", gossip.delivered),
            ("gossip_duplicates", gossip.duplicates),
            ("gossip_pulled", gossip.pulled),
            ("gossip_dropped_time", gossip.dropped_time),
            ("gossip_dropped_invalid", gossip.dropped_invalid),
            ("gossip_dropped_rejected", gossip.dropped_rejected),
            ("gossip_dropped_ignored", gossip.dropped_ignored),
            ("gossip_dropped_fast", gossip.dropped_fast),
            ("gossip_paced", gossip.paced),
            ("gossip_records_misplaced", gossip.misplaced_records),
            ("gossip_given_up", gossip.given_up),
            ("gossip_peers_left_out", gossip.peers_left_out),
            ("reach_commands_dropped", self.reach.dropped()),
        ];
        all.into_iter().filter(|(_, value)| *value > 0).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Starts the drivers. They end when the result is dropped. `low` is the number of peers to be connected to.
pub(crate) fn start(node: &Arc<Node>, discovery: DiscoveryConfig, low: usize) -> JoinSet<()> {
    let mut drivers = JoinSet::new();
    drivers.spawn(gateway::network::run(Arc::clone(node)));
    drivers.spawn(query::outbound::sweep(Arc::clone(node)));
    drivers.spawn(dht::driver::run(Arc::clone(node), seed()));
    drivers.spawn(gossip::driver::run(Arc::clone(node), seed()));
    drivers.spawn(reach::driver::run(Arc::clone(node), seed()));
    discovery::driver::prepare(node, discovery, low);
    drivers.spawn(discovery::trouble::run(Arc::clone(node)));
    drivers.spawn(discovery::driver::run(Arc::clone(node)));
    drivers
}

/// What a machine's randomness comes from.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system gives randomness");
    seed
}
