//! Calls that plugins of this node make on their control session: one message and one reply, each at most 64 KiB.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::{Payload, Target};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::time::{Instant, timeout_at};

use super::deliver;
use super::{Destination, timed_out};
use crate::gateway::Hub;
use crate::gateway::launch::Launch;

/// Makes a call for a plugin and waits for the reply. `timeout` limits both together.
pub(crate) async fn call(
    hub: &Arc<Hub>,
    launch: &Arc<Launch>,
    target: Target,
    protocol: Protocol,
    payload: Payload,
    timeout: Duration,
) -> Result<Payload, Failure> {
    let deadline = Instant::now() + timeout;
    hub.node.check_running()?;
    let destination = Destination::of(hub.node.id, target)?;
    let mut active = launch.begin(&hub.node.counters, destination.used(&protocol))?;
    let work = async {
        match destination {
            Destination::Local => {
                let origin = deliver::local_origin(hub, &launch.plugin, &protocol);
                deliver::call(hub, &origin, &protocol, payload).await.map(|(reply, _)| reply)
            }
            Destination::Peer(peer, hints) => {
                hub.links.call(&launch.account, peer, &hints, &protocol, payload, deadline).await
            }
        }
    };
    tokio::select! {
        result = timeout_at(deadline, work) => result.unwrap_or_else(|_| Err(timed_out(timeout))),
        code = active.revoked() => Err(active.failure(code)),
    }
}
