//! Requests of the gossip engine to the rest of the node: dials, searches for subscribers in the DHT, and listing this
//! node as a subscriber there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::Key;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::{Name, NodeId};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::dht::DhtHandle;
use crate::node::Node;

/// Timeout of a dial.
const CONNECT: Duration = Duration::from_secs(15);
/// Timeout of a search for subscribers.
const FIND: Duration = Duration::from_secs(20);
/// Timeout for the first nodes to list this one.
const ANNOUNCE: Duration = Duration::from_secs(60);
/// Wait before a failed listing is retried.
const AGAIN: Duration = Duration::from_secs(30);
/// Subscribers sought in one search: several times a topic's neighbours.
const ENOUGH: usize = 32;
/// Concurrent requests to the DHT, which serves plugins, too.
const AT_ONCE: usize = 8;

/// Result of a finished task.
pub(super) enum Done {
    /// The dial to this peer failed.
    NotConnected(NodeId),
    /// Subscribers found for a topic, perhaps none.
    Found(Name, Vec<Arc<AddressRecord>>),
    /// No result that the engine waits for.
    Nothing,
}

/// Dials, searches and listings in progress.
pub(super) struct Lookups {
    node: Arc<Node>,
    dht: Arc<DhtHandle>,
    tasks: JoinSet<Done>,
    announced: BTreeMap<Name, AbortHandle>,
    at_once: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(node: Arc<Node>, dht: Arc<DhtHandle>) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { node, dht, tasks: JoinSet::new(), announced: BTreeMap::new(), at_once }
    }

    /// Dials a peer. On success the driver sees the new link; a failure is [`Done::NotConnected`].
    pub(super) fn connect(&mut self, record: Arc<AddressRecord>) {
        let node = Arc::clone(&self.node);
        self.tasks.spawn(async move {
            let Ok(peers) = node.peers() else { return Done::NotConnected(record.node) };
            let _keep = peers.keep(record.node);
            let deadline = Instant::now() + CONNECT;
            // The address came from other peers, which may be strangers.
            match peers.connect_as(record.node, &record.addresses, Source::Exchange, deadline).await {
                Ok(_) => Done::Nothing,
                Err(failure) => {
                    tracing::debug!(peer = %record.node, %failure, "cannot connect to a subscriber");
                    Done::NotConnected(record.node)
                }
            }
        });
    }

    /// Searches the DHT for subscribers of a topic.
    pub(super) fn find(&mut self, topic: Name) {
        let (dht, at_once) = (Arc::clone(&self.dht), Arc::clone(&self.at_once));
        self.tasks.spawn(async move {
            let _permit = at_once.acquire().await;
            let key = Key::of_topic(&topic);
            let found = dht.providers(key, ENOUGH, Instant::now() + FIND).await;
            let found = found.unwrap_or_else(|failure| {
                tracing::debug!(%topic, %failure, "cannot search for subscribers");
                Vec::new()
            });
            Done::Found(topic, found)
        });
    }

    /// Lists this node as a subscriber until [`Self::withdraw`]; retries until it is listed.
    pub(super) fn announce(&mut self, topic: Name) {
        let (dht, at_once, key) = (Arc::clone(&self.dht), Arc::clone(&self.at_once), Key::of_topic(&topic));
        let task = self.tasks.spawn(async move {
            loop {
                let permit = at_once.acquire().await;
                let told = dht.provide(key, Instant::now() + ANNOUNCE).await;
                drop(permit);
                match told {
                    Ok(copies) if copies > 0 => return Done::Nothing,
                    Ok(_) => {}
                    Err(failure) => tracing::debug!(%failure, "cannot list this node as a subscriber yet"),
                }
                sleep(AGAIN).await;
            }
        });
        if let Some(before) = self.announced.insert(topic, task) {
            before.abort();
        }
    }

    /// Ends what [`Self::announce`] began.
    pub(super) fn withdraw(&mut self, topic: &Name) {
        let Some(task) = self.announced.remove(topic) else { return };
        task.abort();
        let (dht, key) = (Arc::clone(&self.dht), Key::of_topic(topic));
        self.tasks.spawn(async move {
            // A failure does no harm: the listing expires at its holders.
            let _ = dht.unprovide(key).await;
            Done::Nothing
        });
    }

    /// Waits for the next result; pends forever while no task runs.
    pub(super) async fn done(&mut self) -> Done {
        match self.tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(_)) => Done::Nothing, // aborted
            None => std::future::pending().await,
        }
    }
}
