//! Streams that plugins of this node open, from the first frame of the data connection to the end of the stream.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Target};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::time::timeout;

use super::deliver;
use super::pump::pump;
use super::{Claimed, Destination, splice, timed_out};
use crate::gateway::Hub;
use crate::gateway::data::{DataReader, Input};
use crate::gateway::launch::{ActiveUse, Launch};
use crate::gateway::opening::Opening;
use crate::link::PeerStream;
use crate::wire::read_status;

enum Far {
    /// A plugin of this node, and who it is told has opened the stream.
    Plugin(Claimed, Origin),
    Peer(PeerStream),
    /// Nobody: the plugin that opens has closed its connection meanwhile.
    Nobody,
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
    let reader = &mut opening.data.reader;
    let reached = tokio::select! {
        reached = timeout(limit, reach(&hub, &launch, destination, &protocol, limit, reader)) => {
            reached.unwrap_or_else(|_| Err(timed_out(limit)))
        }
        code = active.revoked() => Err(active.failure(code)),
    };
    match reached {
        Err(failure) => opening.refuse(&hub, failure).await,
        Ok(Far::Nobody) => {}
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
    reader: &mut DataReader,
) -> Result<Far, Failure> {
    let (peer, hints) = match destination {
        Destination::Local => {
            let origin = deliver::local_origin(hub, &launch.plugin, protocol);
            return tokio::select! {
                claimed = deliver::stream(hub, &origin, protocol) => Ok(Far::Plugin(claimed?, origin)),
                () = reader.closed() => Ok(Far::Nobody),
            };
        }
        Destination::Peer(peer, hints) => (peer, hints),
    };
    let deadline = tokio::time::Instant::now() + limit;
    let mut retried = false;
    loop {
        let mut stream = tokio::select! {
            stream = hub.links.open(peer, &hints, protocol, deadline) => stream?,
            () = reader.closed() => return Ok(Far::Nobody),
        };
        match answer(hub, launch, &mut stream, reader).await {
            Ok(true) => {
                stream.halves.abandon = ErrorCode::ConnectionLost;
                return Ok(Far::Peer(stream));
            }
            Ok(false) => return Ok(Far::Nobody),
            // The connection was lost before the peer accepted the stream, e.g. because a restarted peer replaced it.
            // If nothing of the plugin was sent yet, a retry does nothing twice.
            Err(failure)
                if failure.is(ErrorCode::ConnectionLost)
                    && stream.sent == 0
                    && !stream.halves.sent
                    && !std::mem::replace(&mut retried, true) => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Waits for the peer's answer to a stream, and meanwhile sends what the plugin has written, within the credit that
/// every stream begins with. Returns `false` if the plugin closes its connection instead. Fails with the peer's refusal.
async fn answer(hub: &Hub, launch: &Launch, stream: &mut PeerStream, reader: &mut DataReader) -> Result<bool, Failure> {
    let mut early = stream.link.takes_early_bytes();
    let PeerStream { halves, credit, sent, link, .. } = stream;
    let (send, recv) = (&mut halves.send, &mut halves.recv);
    let status = read_status(recv);
    tokio::pin!(status);
    let status = loop {
        let next = async {
            if early {
                return reader.next().await;
            }
            reader.closed().await;
            Input::Closed
        };
        tokio::select! {
            biased;
            input = next => match input {
                Input::Data(mut bytes) => {
                    let allowed = usize::try_from(credit.limit() - *sent).unwrap_or(usize::MAX);
                    let part = bytes.split_to(allowed.min(bytes.len()));
                    if !bytes.is_empty() {
                        early = false;
                        reader.put_back(Input::Data(bytes));
                    }
                    let length = part.len() as u64;
                    // A peer that has stopped the stream has refused it: the status has the reason.
                    early &= send.write_chunk(part).await.is_ok();
                    *sent += length;
                    launch.account.sent.add(length);
                    link.sent.add(length);
                }
                Input::Closed => return Ok(false),
                input => {
                    if matches!(input, Input::Fin) {
                        let _ = send.finish();
                        halves.sent = true;
                    }
                    early = false;
                    reader.put_back(input);
                }
            },
            status = &mut status => break status,
        }
    };
    match status {
        Ok(None) => Ok(true),
        Ok(Some(refusal)) => {
            halves.received = true; // its end was read, too
            Err(refusal)
        }
        Err(broken) => Err(link.failure(&hub.node, broken)),
    }
}
