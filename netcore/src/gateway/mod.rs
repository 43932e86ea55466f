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
mod calls;
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
pub mod router;
pub mod session;
pub mod socket;
mod splice;
pub(crate) mod topics;

pub(crate) use splice::Direction;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use tokio::task::JoinSet;

use crate::grants::Use;
use crate::node::Node;
use launch::Launch;

/// Enters a launch and serves its socket, in `tasks`, until it is removed. Fails with `bad argument` when its number is
/// taken or the descriptor is not a listening socket.
pub(crate) fn add_launch(
    node: &Arc<Node>,
    tasks: &mut JoinSet<()>,
    number: u64,
    plugin: &PluginId,
    token: Secret,
    grants: Grants,
    descriptor: OwnedFd,
) -> Result<(), Failure> {
    let bad = |error: io::Error| Failure::new(ErrorCode::BadArgument, format!("launch {number} of {plugin}: {error}"));
    let listener = socket::adopt(descriptor).map_err(bad)?;
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

/// Gives all launches of a plugin new grants; what they do not cover any more ends.
pub(crate) fn set_grants(node: &Arc<Node>, plugin: &PluginId, grants: &Grants) {
    let launches: Vec<_> = node.launches().values().filter(|launch| launch.plugin == *plugin).cloned().collect();
    for launch in launches {
        launch.set_grants(grants.clone());
        let Some(session) = launch.session() else { continue };
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
