//! The services of a node: the DHT, gossip, reachability and discovery, and the questions between netcores that they
//! ask and answer. Each is an engine with a driver, which is started here. [`crate::core`] passes the handles to the
//! parts that use them.

use std::sync::Arc;

use polypeer_engine::dht::Asker;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tokio::task::JoinSet;

use crate::dht::driver::KAD;
use crate::dht::{self, DhtHandle};
use crate::discovery::{self, Discovery, EXCHANGE};
use crate::gossip::driver::{self as gossip, GOSSIP, GossipHandle};
use crate::link::Links;
use crate::node::Node;
use crate::query::{self, Handlers, Queries, Question};
use crate::random;
use crate::reach::{self, PROBE, ReachHandle};

/// Handles of the services.
#[derive(Debug)]
pub struct Services {
    /// Questions between netcores.
    pub queries: Arc<Queries>,
    pub dht: Arc<DhtHandle>,
    /// Finds out where this node can be reached.
    pub reach: Arc<ReachHandle>,
    pub gossip: Arc<GossipHandle>,
    /// Finds peers.
    pub discovery: Arc<Discovery>,
}

impl Services {
    /// Makes the handles; nothing runs before [`Self::start`]. `low` is the number of peers to be connected to.
    pub(crate) fn new(node: &Arc<Node>, links: &Arc<Links>, discovery: DiscoverySettings, low: usize) -> Self {
        let queries = Arc::new(Queries::new(Arc::clone(node), Arc::clone(links)));
        let dht = Arc::<DhtHandle>::default();
        let discovery = Discovery::new(Arc::clone(node), Arc::clone(&queries), Arc::clone(&dht), discovery, low);
        Self { queries, dht, reach: Arc::default(), gossip: Arc::default(), discovery: Arc::new(discovery) }
    }

    /// The table of handlers for internal protocols.
    pub(crate) fn handlers(&self, node: &Arc<Node>) -> Handlers {
        let dht = Arc::clone(&self.dht);
        let (reach, prober) = (Arc::clone(&self.reach), Arc::clone(node));
        let discovery = Arc::clone(&self.discovery);
        let (gossip, counted) = (Arc::clone(&self.gossip), Arc::clone(node));
        Handlers::new(Arc::clone(&self.queries))
            .question(KAD, move |Question { node, ip, payload, .. }| {
                let dht = Arc::clone(&dht);
                async move { dht.answer(Asker { node, ip }, &payload).await }
            })
            .question(PROBE, move |Question { node: asker, from, payload, .. }| {
                let (reach, node) = (Arc::clone(&reach), Arc::clone(&prober));
                async move { reach::prober::answer(&node, &reach, asker, from, &payload).await }
            })
            .question(EXCHANGE, move |Question { node, ip, payload, .. }| {
                let discovery = Arc::clone(&discovery);
                async move { discovery::answer(&discovery, node, ip, &payload).await }
            })
            .frames(GOSSIP, move |frames| gossip::serve(Arc::clone(&counted), Arc::clone(&gossip), frames))
    }

    /// Starts the drivers; they end when the result is dropped. Call it after [`Node::join`].
    pub(crate) fn start(&self, node: &Arc<Node>, links: &Arc<Links>) -> JoinSet<()> {
        let mut drivers = JoinSet::new();
        let (node, queries) = (|| Arc::clone(node), || Arc::clone(&self.queries));
        let (dht, reach) = (|| Arc::clone(&self.dht), || Arc::clone(&self.reach));
        let (gossip, own) = (Arc::clone(&self.gossip), self.reach.own());
        drivers.spawn(query::outbound::sweep(queries()));
        drivers.spawn(dht::driver::run(node(), queries(), dht(), random::bytes()));
        drivers.spawn(gossip::run(node(), Arc::clone(links), gossip, dht(), own, random::bytes()));
        drivers.spawn(reach::driver::run(node(), queries(), reach(), dht(), random::bytes()));
        drivers.spawn(discovery::health_log::run(Arc::clone(&self.discovery)));
        drivers.spawn(discovery::driver::run(Arc::clone(&self.discovery)));
        drivers
    }

    /// Counters of all services by name, without those that are zero.
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
