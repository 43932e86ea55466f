//! The plugins' side of netcore: one listening socket per launch, control sessions, data connections.
//!
//! ```text
//! accept ──first frame──► control (a session: requests, events) ──► requests, call
//!        │                   ▲ outbox        │ claim, answer
//!        │                deliver ◄──────────┘        deliver: streams and calls that come in, from peers (crate::link)
//!        │                   └──► topics, records, provided, datagrams, network: the node's services
//!        └─ Open, Accept ──► open ──► splice          and from plugins of this node
//!                                 └──► crate::link::pump, to a peer
//! ```
//!
//! One owner for each piece of state: a session's connection belongs to its task (`control`), a stream's two ends to
//! theirs (`splice`, `link::pump`); `launch` and `router` are behind locks held for a few lines.

pub(crate) mod accept;
mod call;
mod control;
pub(crate) mod data;
pub(crate) mod datagrams;
pub(crate) mod deliver;
pub(crate) mod kept;
pub mod launch;
pub(crate) mod network;
mod open;
mod outbox;
pub(crate) mod provided;
pub(crate) mod records;
pub(crate) mod requests;
pub mod session;
pub mod socket;
mod splice;
pub(crate) mod topics;

use polypeer_engine::gateway::calls;
pub use polypeer_engine::gateway::router;
pub(crate) use splice::Direction;

use std::io;
use std::sync::Arc;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, PeerScope};
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use polypeer_ipc_protocol::transport::admin::Handover;
use tokio::task::JoinSet;

use crate::grants::Use;
use crate::limits::MAX_PEERS_LISTED;
use crate::node::Node;
use launch::Launch;
use session::Session;

/// Enters a launch and serves its socket, in `tasks`, until it is removed. Fails with `bad argument` when its number is
/// taken or the descriptor is not a listening socket.
pub(crate) fn add_launch(
    node: &Arc<Node>,
    tasks: &mut JoinSet<()>,
    number: u64,
    plugin: &PluginId,
    token: Secret,
    grants: Grants,
    socket: Handover,
) -> Result<(), Failure> {
    let bad = |error: io::Error| Failure::new(ErrorCode::BadArgument, format!("launch {number} of {plugin}: {error}"));
    let listener = socket::adopt(socket).map_err(bad)?;
    let launch = Arc::new(Launch::new(number, node.accounts.of(plugin), token, grants));
    let mut launches = node.launches();
    if launches.contains_key(&number) {
        return Err(Failure::new(ErrorCode::BadArgument, format!("launch {number} exists already")));
    }
    launches.insert(number, Arc::clone(&launch));
    drop(launches);
    tasks.spawn(accept::run(Arc::clone(node), launch, listener));
    Ok(())
}

/// Ends a launch: its socket is closed, its session ended, its streams are cut.
pub(crate) fn remove_launch(node: &Node, number: u64) -> Result<(), Failure> {
    let Some(launch) = node.launches().remove(&number) else {
        return Err(Failure::new(ErrorCode::BadArgument, format!("there is no launch {number}")));
    };
    launch.end();
    Ok(())
}

/// Gives all launches of a plugin new grants; what they do not cover any more ends, and who watches peers is told which of them
/// it may see now, and which no more.
pub(crate) fn set_grants(node: &Arc<Node>, plugin: &PluginId, grants: &Grants) {
    let launches: Vec<_> = node.launches().values().filter(|launch| launch.plugin == *plugin).cloned().collect();
    for launch in launches {
        let before = launch.grants();
        launch.set_grants(grants.clone());
        let Some(session) = launch.session() else { continue };
        tell_who_is_seen(node, &session, &before.peers, &grants.peers);
        topics::handle_grants(node, &session, grants);
        let mut router = node.router();
        for key in router.of(session.id) {
            if Use::Listen(key.0, key.1.clone()).check(plugin, grants).is_err() {
                router.unlisten(&key, session.id);
            }
        }
    }
    node.datagrams.handle_grants(plugin, grants);
    provided::handle_grants(node, plugin, grants);
    node.listeners_changed();
}

/// Tells of connected peers that came into sight of a plugin, or went out of it, by a change of its grants.
fn tell_who_is_seen(node: &Node, session: &Session, before: &PeerScope, now: &PeerScope) {
    let came = node.links.infos(|peer| now.allows(peer) && !before.allows(peer), MAX_PEERS_LISTED);
    let went = node.links.infos(|peer| before.allows(peer) && !now.allows(peer), MAX_PEERS_LISTED);
    let failure =
        || Failure::new(ErrorCode::PeerNotAllowed, "the operator no longer lets this plugin deal with the peer");
    let went = went.into_iter().map(|info| Event::PeerDown { node: info.node, failure: failure() });
    for event in came.into_iter().map(Event::PeerUp).chain(went) {
        if !session.tell_peer(event) {
            node.counters.events_dropped.count();
        }
    }
}
