//! What a node does for its plugins and its peers beyond carrying streams: each is a machine with a driver, started here;
//! the rest of the node talks to their handles.

use std::sync::{Arc, OnceLock};

use tokio::task::JoinSet;

use crate::dht::{self, DhtHandle};
use crate::gateway;
use crate::gossip::driver::GossipHandle;
use crate::identity::Identity;
use crate::keys::SharedKeys;
use crate::node::Node;
use crate::query::Queries;

/// The handles.
#[derive(Default)]
pub struct Services {
    /// This node's keys; there once the drivers run.
    pub keys: OnceLock<SharedKeys>,
    /// Questions between netcores.
    pub queries: Queries,
    /// The hash table.
    pub dht: DhtHandle,
    /// Publish and subscribe.
    pub gossip: GossipHandle,
}

impl Services {
    /// How they fare, as numbers by name: those that are not zero.
    pub async fn counters(&self) -> Vec<(String, u64)> {
        let dht = self.dht.stats().await;
        let all = [
            ("dht_contacts", dht.contacts as u64),
            ("dht_table_bytes", dht.table_bytes as u64),
            ("dht_records", dht.records as u64),
            ("dht_record_bytes", dht.record_bytes as u64),
            ("dht_providers", dht.providers as u64),
            ("dht_commands_dropped", self.dht.dropped()),
        ];
        all.into_iter().filter(|(_, value)| *value > 0).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Starts the drivers. They end when the result is dropped.
pub(crate) fn start(node: &Arc<Node>, identity: &Arc<Identity>) -> JoinSet<()> {
    let mut drivers = JoinSet::new();
    let keys: SharedKeys = Arc::clone(identity) as SharedKeys;
    let _ = node.services().keys.set(Arc::clone(&keys)); // once: this is called once
    drivers.spawn(gateway::network::run(Arc::clone(node)));
    drivers.spawn(dht::driver::run(Arc::clone(node), keys, seed()));
    drivers
}

/// What a machine's randomness comes from.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system gives randomness");
    seed
}
