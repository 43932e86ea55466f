//! What the machine wants from others than its peers: connections, subscribers that the hash table knows, and that it is
//! told of this node's subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::Key;
use polypeer_engine::peers::book::Source;
use polypeer_ipc_protocol::ids::{Name, NodeId};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::dht::DhtHandle;
use crate::node::Node;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// For subscribers to be found.
const FIND: Duration = Duration::from_secs(20);
/// For the first nodes to list this one.
const ANNOUNCE: Duration = Duration::from_secs(60);
/// Before it is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Subscribers looked for: a topic's neighbours, several times over.
const ENOUGH: usize = 32;
/// Questions to the hash table at a time: it serves plugins too.
const AT_ONCE: usize = 8;

/// What came of something.
pub(super) enum Done {
    /// No connection with this peer.
    NotConnected(NodeId),
    /// Subscribers, perhaps none.
    Found(Name, Vec<Arc<AddressRecord>>),
    /// Nothing that anybody waits for.
    Nothing,
}

/// All that is under way.
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

    /// Connects to a peer. Success shows as a link.
    pub(super) fn connect(&mut self, record: Arc<AddressRecord>) {
        let node = Arc::clone(&self.node);
        self.tasks.spawn(async move {
            let Ok(peers) = node.peers() else { return Done::NotConnected(record.node) };
            let _keep = peers.keep(record.node);
            let deadline = Instant::now() + CONNECT;
            // Strangers named it, whoever they are.
            match peers.connect_as(record.node, &record.addresses, Source::Exchange, deadline).await {
                Ok(_) => Done::Nothing,
                Err(failure) => {
                    tracing::debug!(peer = %record.node, %failure, "cannot connect to a subscriber");
                    Done::NotConnected(record.node)
                }
            }
        });
    }

    /// Looks for subscribers of a topic.
    pub(super) fn find(&mut self, topic: Name) {
        let (dht, at_once) = (Arc::clone(&self.dht), Arc::clone(&self.at_once));
        self.tasks.spawn(async move {
            let _permit = at_once.acquire().await;
            let key = Key::of_topic(&topic);
            let found = dht.providers(key, ENOUGH, Instant::now() + FIND).await;
            let found = found.unwrap_or_else(|failure| {
                tracing::debug!(%topic, %failure, "cannot look for subscribers");
                Vec::new()
            });
            Done::Found(topic, found)
        });
    }

    /// Has this node listed as a subscriber until [`Self::withdraw`].
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
                    Err(failure) => tracing::debug!(%failure, "cannot be listed as a subscriber yet"),
                }
                sleep(AGAIN).await;
            }
        });
        if let Some(before) = self.announced.insert(topic, task) {
            before.abort();
        }
    }

    /// Ends [`Self::announce`].
    pub(super) fn withdraw(&mut self, topic: &Name) {
        let Some(task) = self.announced.remove(topic) else { return };
        task.abort();
        let (dht, key) = (Arc::clone(&self.dht), Key::of_topic(topic));
        self.tasks.spawn(async move {
            // What others list of it expires anyhow.
            let _ = dht.unprovide(key).await;
            Done::Nothing
        });
    }

    /// Waits for what comes of something; never returns when nothing is under way.
    pub(super) async fn done(&mut self) -> Done {
        match self.tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(_)) => Done::Nothing, // aborted
            None => std::future::pending().await,
        }
    }
}
