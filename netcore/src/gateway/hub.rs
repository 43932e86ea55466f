//! The state of the gateway: launches and their sessions, the session that serves each protocol, and the records,
//! provided names and datagram receivers of plugins. [`crate::core`] makes it once. The admin session adds and removes
//! launches; [`Hub::peer_up`] and [`Hub::peer_down`] pass on that peers of [`crate::link`] connect and disconnect.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use polypeer_engine::gateway::router::Router;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, PeerInfo, PeerScope};
use polypeer_ipc_protocol::ids::{NodeId, OPERATOR, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::transport::admin::Handover;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::accept;
use super::datagrams::Receivers;
use super::launch::session::Session;
use super::launch::{ActiveUse, Launch};
use super::network::Watched;
use super::own_puts::OwnPuts;
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

/// A listener. It holds its use, which counts as long as the listener lives.
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
    /// The session that receives the datagrams of each protocol.
    pub(super) datagrams: Receivers,
    pub(super) provided_names: ProvidedNames,
    /// Records of plugins that the node republishes.
    pub(super) record_quota: RecordQuota,
    /// Sequence numbers of the records that this node signs.
    pub(super) sequences: Sequences,
    /// The order of puts of those records.
    pub(super) own_puts: Arc<OwnPuts>,
    /// Permits for streams and calls that wait for a listener, [`HELD`] in all.
    pub(crate) held: Semaphore,
    /// Held while plugins are told of peers, so that what is told of a peer last is its state.
    telling_peers: Mutex<()>,
    /// The state of the network as last reported to the plugins that watch it.
    pub(super) network_seen: Watched,
    /// Signalled when a listener is added or removed.
    pub(crate) routes_changed: Notify,
    serving_changed: watch::Sender<u64>,
    router: Mutex<Router<Listening>>,
    launches: Mutex<HashMap<u64, Arc<Launch>>>,
    /// Launches that are over but may still have records in the DHT: a change of grants applies to those records too.
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
            own_puts: Arc::default(),
            held: Semaphore::new(HELD),
            telling_peers: Mutex::default(),
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

    /// Adds a launch and serves its socket, in `tasks`, until the launch is removed. Fails with `bad argument` when the
    /// number is taken or the descriptor is not a listening socket.
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
        // The newest grants apply to what earlier launches of the plugin left in the DHT.
        for over in self.over().iter().filter_map(Weak::upgrade).filter(|over| over.plugin == *plugin) {
            over.set_grants(Grants::clone(&launch.grants()));
        }
        tasks.spawn(accept::run(Arc::clone(self), Arc::clone(opener), launch, listener));
        Ok(())
    }

    /// Ends a launch, its socket, its session and its streams. Fails with `bad argument` for an unknown number.
    pub(crate) fn remove_launch(&self, number: u64) -> Result<(), Failure> {
        let Some(launch) = self.launches().remove(&number) else {
            return Err(unknown(number));
        };
        launch.end();
        let mut over = self.over();
        over.retain(|launch| launch.strong_count() > 0);
        over.push(Arc::downgrade(&launch));
        Ok(())
    }

    /// Ends the session of a launch, and refuses another. Returns once the plugin was told.
    pub(crate) async fn close_session(&self, number: u64) -> Result<(), Failure> {
        let launch = self.launches().get(&number).cloned();
        let session = launch.ok_or_else(|| unknown(number))?.close();
        if let Some(session) = session {
            session.until_closed().await;
        }
        Ok(())
    }

    /// Asks the plugin of a launch whether it is alive. Fails with `bad argument` without a session.
    pub(crate) fn ask_for_life(&self, number: u64) -> Result<(), Failure> {
        let session = self.launches().get(&number).and_then(|launch| launch.session());
        session.ok_or_else(|| unknown(number))?.ask_for_life();
        Ok(())
    }

    /// Replaces the grants of all launches of a plugin. Uses that the new grants do not cover end.
    pub(crate) fn set_grants(&self, plugin: &PluginId, grants: &Grants) {
        let mut launches: Vec<_> = self.launches().values().cloned().collect();
        launches.extend(self.over().iter().filter_map(Weak::upgrade));
        for launch in launches.iter().filter(|launch| launch.plugin == *plugin) {
            launch.set_grants(grants.clone());
        }
        self.listeners_changed();
    }

    /// Reports connected peers that a change of grants made visible to a plugin (`PeerUp`) or hid from it (`PeerDown`).
    pub(super) fn tell_who_is_seen(&self, session: &Session, before: &PeerScope, now: &PeerScope) {
        let _telling = self.telling_peers();
        let came = self.links.infos(|peer| now.allows(peer) && !before.allows(peer), MAX_PEERS_LISTED);
        let went = self.links.infos(|peer| before.allows(peer) && !now.allows(peer), MAX_PEERS_LISTED);
        let failure =
            || Failure::new(ErrorCode::PeerNotAllowed, "the operator no longer lets this plugin deal with the peer");
        let went = went.into_iter().map(|info| Event::PeerDown { node: info.node, failure: failure() });
        for event in came.into_iter().map(Event::PeerUp).chain(went) {
            self.tell_peer(session, event);
        }
    }

    /// Begins to report peers to a plugin: first those that are connected, then each change.
    pub(super) fn watch_peers(&self, session: &Session, active: ActiveUse) {
        let _telling = self.telling_peers();
        session.peers_watch.set(Some(active));
        let grants = session.launch.grants();
        for info in self.links.infos(|peer| grants.peers.allows(peer), MAX_PEERS_LISTED) {
            self.tell_peer(session, Event::PeerUp(info));
        }
    }

    fn telling_peers(&self) -> MutexGuard<'_, ()> {
        self.telling_peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_peer(&self, session: &Session, event: Event) {
        if !session.tell_peer(event) {
            self.node.counters.events_dropped.count();
        }
    }

    /// Reports a connected peer to the plugins that watch peers and whose grants include this one.
    pub(crate) fn peer_up(&self, info: &PeerInfo) {
        let _telling = self.telling_peers();
        for session in self.sessions_that_see(&info.node) {
            self.tell_peer(&session, Event::PeerUp(info.clone()));
        }
    }

    /// Reports to the same plugins that a peer is no longer connected, and why.
    pub(crate) fn peer_down(&self, peer: NodeId, failure: &Failure) {
        let _telling = self.telling_peers();
        for session in self.sessions_that_see(&peer) {
            self.tell_peer(&session, Event::PeerDown { node: peer, failure: failure.clone() });
        }
    }

    fn sessions_that_see(&self, peer: &NodeId) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.launch.grants().peers.allows(peer));
        sessions
    }

    /// Wakes the tasks that wait for a listener, and those that tell peers which protocols are served.
    pub(crate) fn listeners_changed(&self) {
        self.routes_changed.notify_waiters();
        self.serving_changed.send_modify(|version| *version += 1);
    }

    /// A version number that changes whenever the protocols served to peers may have changed.
    pub(crate) fn serving_changed(&self) -> watch::Receiver<u64> {
        self.serving_changed.subscribe()
    }

    /// The newest session of each launch, where it has one.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.launches().values().filter_map(|launch| launch.session()).collect()
    }

    /// The protocols served to `peer`, at most [`MAX_SERVING`].
    pub(crate) fn serving(&self, peer: &NodeId) -> Vec<Protocol> {
        let all = self.router().serving();
        let visible = all.into_iter().filter(|(_, listening)| listening.session.launch.grants().peers.allows(peer));
        visible.map(|(protocol, _)| protocol).take(MAX_SERVING).collect()
    }

    /// The start of the newest launch whose grants let it serve as `used` says. The operator's commands do not count:
    /// they may serve everything, and most serve nothing.
    pub(crate) fn launched_to_serve(&self, used: &Use) -> Option<Instant> {
        let launches = self.launches();
        let may_serve = launches.values().filter(|launch| {
            launch.plugin.as_str() != OPERATOR && used.check(&launch.plugin, &launch.grants()).is_ok()
        });
        may_serve.map(|launch| launch.since).max()
    }
}

fn unknown(launch: u64) -> Failure {
    Failure::new(ErrorCode::BadArgument, format!("there is no launch {launch}, or it has no session"))
}
