//! Data connections that open or claim a stream, from their first frame to the end of the stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Target};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use tokio::time::timeout;

use super::accept::Opening;
use super::deliver::{self, Claimed};
use super::launch::{ActiveUse, Launch};
use super::requests::{no_such_stream, timeout_of};
use super::splice;
use crate::grants::Use;
use crate::link::{self, PeerStream};
use crate::node::Node;

/// Where a stream or call goes.
#[derive(Debug)]
pub(crate) enum Destination {
    Local,
    Peer(NodeId, Vec<SocketAddr>),
}

impl Destination {
    /// Where `target` is. Fails with `bad argument` for this node itself.
    pub(crate) fn of(node: &Node, target: Target) -> Result<Self, Failure> {
        let (peer, hints) = match target {
            Target::Local => return Ok(Self::Local),
            Target::Node(peer) => (peer, Vec::new()),
            Target::Ticket(ticket) => (ticket.node, ticket.addresses),
        };
        if peer == node.id {
            let text = "this is the id of the own node: its plugins are reached with the target `local`";
            return Err(Failure::new(ErrorCode::BadArgument, text));
        }
        Ok(Self::Peer(peer, hints))
    }

    /// What a plugin does that goes there.
    pub(crate) fn used(&self, protocol: &Protocol) -> Use {
        match self {
            Self::Local => Use::DialLocal(protocol.clone()),
            Self::Peer(peer, _) => Use::Dial(*peer, protocol.clone()),
        }
    }
}

/// What is said when the time a plugin gave is over.
pub(crate) fn timed_out(after: Duration) -> Failure {
    Failure::new(ErrorCode::TimedOut, format!("no answer within {} s", after.as_secs_f32()))
}

enum Far {
    Plugin(Claimed),
    Peer(PeerStream),
}

/// Opens a stream for a plugin and carries it to its end.
pub(crate) async fn open(
    node: Arc<Node>,
    launch: Arc<Launch>,
    mut opening: Opening,
    target: Target,
    protocol: Protocol,
    timeout_ms: u32,
) {
    let (origin, mut active) = match admit(&node, &launch, target, &protocol) {
        Ok((destination, active)) => (destination, active),
        Err(failure) => return opening.refuse(&node, failure).await,
    };
    let limit = timeout_of(timeout_ms);
    let reached = tokio::select! {
        reached = timeout(limit, reach(&node, &launch, origin, &protocol, limit)) => {
            reached.unwrap_or_else(|_| Err(timed_out(limit)))
        }
        () = opening.data.reader.closed() => return,
        code = active.revoked() => Err(code.into()),
    };
    match reached {
        Err(failure) => opening.refuse(&node, failure).await,
        Ok(Far::Peer(stream)) => {
            let data = opening.opened(Origin::Peer(stream.peer()), protocol);
            Box::pin(link::pump(node, stream, data, active)).await;
        }
        Ok(Far::Plugin(Claimed { opening: far, active: far_active })) => {
            let plugin = far_active.launch().plugin.clone();
            let near = opening.opened(Origin::Local(plugin), protocol.clone());
            let far = far.opened(Origin::Local(launch.plugin.clone()), protocol);
            Box::pin(splice::run(&node, near, active, far, far_active)).await;
        }
    }
}

fn admit(
    node: &Node,
    launch: &Arc<Launch>,
    target: Target,
    protocol: &Protocol,
) -> Result<(Destination, ActiveUse), Failure> {
    node.check_running()?;
    let destination = Destination::of(node, target)?;
    let active = launch.begin(&node.counters, destination.used(protocol))?;
    Ok((destination, active))
}

async fn reach(
    node: &Arc<Node>,
    launch: &Arc<Launch>,
    destination: Destination,
    protocol: &Protocol,
    limit: Duration,
) -> Result<Far, Failure> {
    match destination {
        Destination::Local => {
            let origin = Origin::Local(launch.plugin.clone());
            deliver::stream(node, &origin, protocol).await.map(Far::Plugin)
        }
        Destination::Peer(peer, hints) => {
            let deadline = tokio::time::Instant::now() + limit;
            link::open(node, peer, &hints, protocol, deadline).await.map(Far::Peer)
        }
    }
}

/// Hands a connection to whoever waits for the plugin to claim its stream.
pub(crate) async fn claim(node: &Node, launch: &Launch, opening: Opening, stream: u64) {
    let unclaimed = match launch.session() {
        Some(session) => session.claim(stream, Ok(Box::new(opening))),
        None => Some(Ok(Box::new(opening))),
    };
    if let Some(Ok(opening)) = unclaimed {
        opening.refuse(node, no_such_stream(stream)).await;
    }
}
