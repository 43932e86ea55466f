//! The table of a node's links, by peer.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::PeerInfo;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};

use super::handler::LinkHandler;
use super::windows::Budgets;
use super::{PeerLink, Stage, run};
use crate::limits::{FREE_STREAMS, QUERY_PAYLOADS};
use crate::node::Node;
use crate::peers::Established;
use crate::transport::Route;
use crate::wire::{Payloads, why_closed};

/// Ended links whose reasons are remembered, for tasks that were about to use one.
const ENDED: usize = 64;

/// The links of a node, by peer.
#[derive(Debug)]
pub struct Links {
    pub(super) node: Arc<Node>,
    all: Mutex<All>,
    budgets: Arc<Budgets>,
}

#[derive(Debug, Default)]
struct All {
    standing: HashMap<NodeId, Arc<PeerLink>>,
    /// Peers that were reported as up, and not as down since; each of them has a standing link.
    told: HashSet<NodeId>,
    /// Reasons why the latest links ended, by quinn's number for the connection.
    ended: VecDeque<(usize, Failure)>,
}

impl Links {
    /// An empty table.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, all: Mutex::default(), budgets: Arc::default() }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A limit for the incomplete payloads of one query connection.
    pub(crate) fn payloads(&self) -> Payloads {
        Payloads::new(Arc::clone(&self.budgets.payloads), QUERY_PAYLOADS)
    }

    /// Takes over a connection and serves it, on the calling task's runtime. `peers` calls this before the connection
    /// can be used.
    pub(crate) fn establish(self: &Arc<Self>, handler: &Arc<dyn LinkHandler>, established: Established) {
        let link = Arc::new(PeerLink::new(established, &self.budgets));
        link.allow_streams(FREE_STREAMS);
        self.all().standing.insert(link.peer, Arc::clone(&link));
        tokio::spawn(run(Arc::clone(self), Arc::clone(handler), link));
    }

    /// The link of a connection. Fails with the reason when it has ended.
    pub(crate) fn of(&self, peer: &NodeId, connection: &quinn::Connection) -> Result<Arc<PeerLink>, Failure> {
        let all = self.all();
        let number = connection.stable_id();
        match all.standing.get(peer).filter(|link| link.connection.stable_id() == number) {
            Some(link) => Ok(Arc::clone(link)),
            None => {
                let ended = all.ended.iter().find(|(ended, _)| *ended == number);
                Err(ended.map_or_else(|| why_closed(connection), |(_, failure)| failure.clone()))
            }
        }
    }

    /// The link with `peer`, if one stands.
    pub(crate) fn standing(&self, peer: &NodeId) -> Option<Arc<PeerLink>> {
        self.all().standing.get(peer).cloned()
    }

    /// The link with `peer`, if one stands on which both `Hello`s have been exchanged.
    pub(crate) fn ready(&self, peer: &NodeId) -> Option<Arc<PeerLink>> {
        self.standing(peer).filter(|link| link.stage() == Stage::Ready)
    }

    /// Connected peers as a plugin sees them, at most `limit`.
    pub(crate) fn infos(&self, allowed: impl Fn(&NodeId) -> bool, limit: usize) -> Vec<PeerInfo> {
        let links: Vec<_> = {
            let all = self.all();
            all.standing.values().filter(|link| link.stage() == Stage::Ready && allowed(&link.peer)).cloned().collect()
        };
        let mut infos: Vec<_> = links.iter().take(limit).map(|link| link.info()).collect();
        infos.sort_by_key(|info| info.node);
        infos
    }

    /// The route to each connected peer.
    pub(crate) fn routes(&self) -> BTreeMap<NodeId, Route> {
        let ready = |link: &&Arc<PeerLink>| link.stage() == Stage::Ready;
        self.all().standing.values().filter(ready).map(|link| (link.peer, link.path.route())).collect()
    }

    /// The protocols that a connected peer says it serves; empty without a link.
    pub(crate) fn protocols(&self, peer: &NodeId) -> Vec<Protocol> {
        self.all().standing.get(peer).map(|link| link.state().serving.clone()).unwrap_or_default()
    }

    /// Notes that a peer is reported as up: its `Hello` has arrived.
    pub(super) fn told_up(&self, peer: NodeId) {
        self.all().told.insert(peer);
    }

    /// Removes a link that has ended. Returns whether the peer is now to be reported as down: it was reported as up, on
    /// this link or on one that this link replaced, and no other link stands.
    pub(super) fn remove(&self, link: &Arc<PeerLink>) -> bool {
        let mut all = self.all();
        if all.ended.len() == ENDED {
            all.ended.pop_front();
        }
        all.ended.push_back((link.connection.stable_id(), link.why_closed()));
        let newest = all.standing.get(&link.peer).is_some_and(|newest| Arc::ptr_eq(newest, link));
        if newest {
            all.standing.remove(&link.peer);
        }
        newest && all.told.remove(&link.peer)
    }
}
