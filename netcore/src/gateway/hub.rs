//! The state of the gateway: launches and their sessions, which session serves what, and what plugins have in the services
//! of the node. Made once by [`crate::core`]; the admin session adds and removes launches, [`crate::link`]'s peers come and
//! go by [`Hub::peer_up`] and [`Hub::peer_down`].

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use polypeer_engine::gateway::router::Router;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, Origin, PeerInfo, PeerScope};
use polypeer_ipc_protocol::ids::{NodeId, OPERATOR, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::transport::admin::Handover;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::accept;
use super::datagrams::Receivers;
use super::launch::session::Session;
use super::launch::{ActiveUse, Launch};
use super::network::Watched;
use super::provided_names::ProvidedNames;
use super::record_quota::RecordQuota;
use super::records::Sequences;
use super::{StreamOpener, socket};
use crate::dht::DhtHandle;
use crate::gossip::driver::GossipHandle;
use crate::limits::{HELD, MAX_PEERS_LISTED, MAX_SERVING};
use crate::link::Links;
use crate::node::Node;
use crate::plugins::grants::Use;
use crate::reach::ReachHandle;

/// A listener, for as long as its use lives.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    pub(crate) session: Arc<Session>,
    pub(super) _active: Arc<ActiveUse>,
}

/// The gateway of one node.
#[derive(Debug)]
pub struct Hub {
    pub(crate) node: Arc<Node>,
    pub(crate) links: Arc<Links>,
    pub(super) dht: Arc<DhtHandle>,
    pub(super) gossip: Arc<GossipHandle>,
    pub(super) reach: Arc<ReachHandle>,
    /// Which session receives which protocol's datagrams.
    pub(super) datagrams: Receivers,
    /// Names that plugins provide.
    pub(super) provided_names: ProvidedNames,
    /// Records that plugins have in the DHT.
    pub(super) record_quota: RecordQuota,
    /// Sequence numbers given to records of this node's own.
    pub(super) sequences: Sequences,
    /// Streams and calls that may wait for a listener.
    pub(crate) held: Semaphore,
    /// The network as last told to the plugins that watch it.
    pub(super) network_seen: Watched,
    /// Signalled when a listener came or went.
    pub(crate) routes_changed: Notify,
    serving_changed: watch::Sender<u64>,
    router: Mutex<Router<Listening>>,
    launches: Mutex<HashMap<u64, Arc<Launch>>>,
    /// Launches that are over, of which records may be left in the DHT: a change of grants holds for those too.
    over: Mutex<Vec<Weak<Launch>>>,
}

impl Hub {
    /// A gateway without launches.
    pub(crate) fn new(
        node: Arc<Node>,
        links: Arc<Links>,
        dht: Arc<DhtHandle>,
        gossip: Arc<GossipHandle>,
        reach: Arc<ReachHandle>,
    ) -> Self {
        let hold = node.timings.hold;
        Self {
            node,
            links,
            dht,
            gossip,
            reach,
            datagrams: Receivers::default(),
            provided_names: ProvidedNames::default(),
            record_quota: RecordQuota::default(),
            sequences: Sequences::default(),
            held: Semaphore::new(HELD),
            network_seen: Watched::default(),
            routes_changed: Notify::new(),
            serving_changed: watch::Sender::new(0),
            router: Mutex::new(Router::new(hold)),
            launches: Mutex::default(),
            over: Mutex::default(),
        }
    }

    pub(crate) fn router(&self) -> MutexGuard<'_, Router<Listening>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn launches(&self) -> MutexGuard<'_, HashMap<u64, Arc<Launch>>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> MutexGuard<'_, Vec<Weak<Launch>>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a launch and serves its socket, in `tasks`, until it is removed. Fails with `bad argument` when its number is
    /// taken or the descriptor is not a listening socket.
    #[allow(clippy::too_many_arguments, reason = "what the supervisor says of a launch, and who serves it")]
    pub(crate) fn add_launch(
        self: &Arc<Self>,
        opener: &Arc<dyn StreamOpener>,
        tasks: &mut JoinSet<()>,
        number: u64,
        plugin: &PluginId,
        token: Secret,
        grants: Grants,
        socket: Handover,
    ) -> Result<(), Failure> {
        let bad =
            |error: io::Error| Failure::new(ErrorCode::BadArgument, format!("launch {number} of {plugin}: {error}"));
        let listener = socket::adopt(socket).map_err(bad)?;
        let launch = Arc::new(Launch::new(number, self.node.accounts.of(plugin), token, grants));
        let mut launches = self.launches();
        if launches.contains_key(&number) {
            return Err(Failure::new(ErrorCode::BadArgument, format!("launch {number} exists already")));
        }
        launches.insert(number, Arc::clone(&launch));
        drop(launches);
        // What earlier launches left behind stands under the newest grants.
        for over in self.over().iter().filter_map(Weak::upgrade).filter(|over| over.plugin == *plugin) {
            over.set_grants(Grants::clone(&launch.grants()));
        }
        tasks.spawn(accept::run(Arc::clone(self), Arc::clone(opener), launch, listener));
        Ok(())
    }

    /// Ends a launch: its socket is closed, its session ended, its streams are cut.
    pub(crate) fn remove_launch(&self, number: u64) -> Result<(), Failure> {
        let Some(launch) = self.launches().remove(&number) else {
            return Err(Failure::new(ErrorCode::BadArgument, format!("there is no launch {number}")));
        };
        launch.end();
        let mut over = self.over();
        over.retain(|launch| launch.strong_count() > 0);
        over.push(Arc::downgrade(&launch));
        Ok(())
    }

    /// Gives all launches of a plugin new grants; what they do not cover any more ends.
    pub(crate) fn set_grants(&self, plugin: &PluginId, grants: &Grants) {
        let mut launches: Vec<_> = self.launches().values().cloned().collect();
        launches.extend(self.over().iter().filter_map(Weak::upgrade));
        for launch in launches.iter().filter(|launch| launch.plugin == *plugin) {
            launch.set_grants(grants.clone());
        }
        self.listeners_changed();
    }

    /// Tells of connected peers that came into sight of a plugin, or went out of it, by a change of its grants.
    pub(super) fn tell_who_is_seen(&self, session: &Session, before: &PeerScope, now: &PeerScope) {
        let came = self.links.infos(|peer| now.allows(peer) && !before.allows(peer), MAX_PEERS_LISTED);
        let went = self.links.infos(|peer| before.allows(peer) && !now.allows(peer), MAX_PEERS_LISTED);
        let failure =
            || Failure::new(ErrorCode::PeerNotAllowed, "the operator no longer lets this plugin deal with the peer");
        let went = went.into_iter().map(|info| Event::PeerDown { node: info.node, failure: failure() });
        for event in came.into_iter().map(Event::PeerUp).chain(went) {
            self.tell_peer(session, event);
        }
    }

    fn tell_peer(&self, session: &Session, event: Event) {
        if !session.tell_peer(event) {
            self.node.counters.events_dropped.count();
        }
    }

    /// A peer is connected: tells the plugins that watch peers and may see this one.
    pub(crate) fn peer_up(&self, info: &PeerInfo) {
        for session in self.sessions_that_see(&info.node) {
            self.tell_peer(&session, Event::PeerUp(info.clone()));
        }
    }

    /// A peer is not connected any more: tells the same plugins why.
    pub(crate) fn peer_down(&self, peer: NodeId, failure: &Failure) {
        for session in self.sessions_that_see(&peer) {
            self.tell_peer(&session, Event::PeerDown { node: peer, failure: failure.clone() });
        }
    }

    fn sessions_that_see(&self, peer: &NodeId) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.launch.grants().peers.allows(peer));
        sessions
    }

    /// Wakes everything that waits for a listener or tells peers what is served.
    pub(crate) fn listeners_changed(&self) {
        self.routes_changed.notify_waiters();
        self.serving_changed.send_modify(|version| *version += 1);
    }

    /// Changes with every change of what is served to peers.
    pub(crate) fn serving_changed(&self) -> watch::Receiver<u64> {
        self.serving_changed.subscribe()
    }

    /// The open sessions.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.launches().values().filter_map(|launch| launch.session()).collect()
    }

    /// Protocols served to `peer`, at most [`MAX_SERVING`].
    pub(crate) fn serving(&self, peer: &NodeId) -> Vec<Protocol> {
        let all = self.router().serving();
        let visible = all.into_iter().filter(|(_, listening)| listening.session.launch.grants().peers.allows(peer));
        visible.map(|(protocol, _)| protocol).take(MAX_SERVING).collect()
    }

    /// When the newest launch came that may serve `protocol` to `origin`. The operator's commands do not count: they
    /// may serve everything, and most serve nothing.
    pub(crate) fn launched_to_serve(&self, origin: &Origin, protocol: &Protocol) -> Option<Instant> {
        let used = Use::Serve(origin.clone(), protocol.clone());
        let launches = self.launches();
        let may_serve = launches.values().filter(|launch| {
            launch.plugin.as_str() != OPERATOR && used.check(&launch.plugin, &launch.grants()).is_ok()
        });
        may_serve.map(|launch| launch.since).max()
    }
}
