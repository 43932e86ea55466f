//! Streams that plugins of this node open, from the first frame of the data connection to the end of the stream.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::{Origin, Target};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::time::timeout;

use super::deliver;
use super::pump::pump;
use super::{Claimed, Destination, splice, timed_out};
use crate::gateway::Hub;
use crate::gateway::launch::{ActiveUse, Launch};
use crate::gateway::opening::Opening;
use crate::link::PeerStream;

enum Far {
    /// A plugin of this node, and who it is told has opened the stream.
    Plugin(Claimed, Origin),
    Peer(PeerStream),
}

/// Opens a stream for a plugin and carries it to its end.
pub(crate) async fn open(
    hub: Arc<Hub>,
    launch: Arc<Launch>,
    mut opening: Opening,
    target: Target,
    protocol: Protocol,
    limit: Duration,
) {
    let (destination, mut active) = match admit(&hub, &launch, target, &protocol) {
        Ok((destination, active)) => (destination, active),
        Err(failure) => return opening.refuse(&hub, failure).await,
    };
    let reached = tokio::select! {
        reached = timeout(limit, reach(&hub, &launch, destination, &protocol, limit)) => {
            reached.unwrap_or_else(|_| Err(timed_out(limit)))
        }
        () = opening.data.reader.closed() => return,
        code = active.revoked() => Err(active.failure(code)),
    };
    match reached {
        Err(failure) => opening.refuse(&hub, failure).await,
        Ok(Far::Peer(stream)) => {
            let data = opening.opened(Origin::Peer(stream.peer()), protocol);
            Box::pin(pump(Arc::clone(&hub.node), stream, data, active)).await;
        }
        Ok(Far::Plugin(Claimed { opening: far, active: far_active }, origin)) => {
            let plugin = far_active.launch().plugin.clone();
            let near = opening.opened(Origin::Local(plugin), protocol.clone());
            let far = far.opened(origin, protocol);
            let finish = hub.node.timings.finish;
            Box::pin(splice::run(&hub.node.counters, near, active, far, far_active, finish)).await;
        }
    }
}

fn admit(
    hub: &Hub,
    launch: &Arc<Launch>,
    target: Target,
    protocol: &Protocol,
) -> Result<(Destination, ActiveUse), Failure> {
    hub.node.check_running()?;
    let destination = Destination::of(hub.node.id, target)?;
    let active = launch.begin(&hub.node.counters, destination.used(protocol))?;
    Ok((destination, active))
}

async fn reach(
    hub: &Arc<Hub>,
    launch: &Arc<Launch>,
    destination: Destination,
    protocol: &Protocol,
    limit: Duration,
) -> Result<Far, Failure> {
    match destination {
        Destination::Local => {
            let origin = deliver::local_origin(hub, &launch.plugin, protocol);
            let claimed = deliver::stream(hub, &origin, protocol).await?;
            Ok(Far::Plugin(claimed, origin))
        }
        Destination::Peer(peer, hints) => {
            let deadline = tokio::time::Instant::now() + limit;
            hub.links.open(peer, &hints, protocol, deadline).await.map(Far::Peer)
        }
    }
}
