//! Streams and calls that peers open, from the moment at which the header (and a call's payload) has arrived.

use std::sync::Arc;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Payload};
use polypeer_ipc_protocol::ids::Protocol;

use super::pump::pump;
use super::{Claimed, deliver};
use crate::gateway::Hub;
use crate::link::{InUse, PeerStream};
use crate::plugins::grants::told_to_peer;
use crate::wire::Early;

/// Hands a stream to the plugin that serves its protocol and carries it to its end.
pub(super) async fn serve_stream(hub: Arc<Hub>, mut stream: PeerStream, protocol: Protocol, in_use: InUse) {
    let (origin, link) = (Origin::Peer(stream.peer()), Arc::clone(&stream.link));
    let mut room = link.early().begin();
    let claimed = tokio::select! {
        // A stream that the peer has given up already is announced to nobody.
        biased;
        broken = stream.halves.take_early(&mut stream.early, &mut room) => match broken {
            Some(broken) => return stream.gone(&hub.node, broken),
            None => {
                hub.node.counters.peer_payloads_refused.count();
                Err(Failure::new(ErrorCode::Busy, "too many first bytes of streams are on their way already"))
            }
        },
        claimed = deliver::stream(&hub, &origin, &protocol) => claimed,
    };
    let Claimed { opening, active } = match claimed {
        Ok(claimed) => claimed,
        Err(failure) => {
            stream.early = Early::default();
            drop(in_use); // a peer that reads no refusals gets no more streams
            return stream.halves.refuse(&hub.node, &told_to_peer(&failure)).await;
        }
    };
    if !stream.halves.accept(&hub.node).await {
        return opening.refuse(&hub, Failure::from(ErrorCode::Cancelled)).await;
    }
    drop(room); // from here on the plugin's account and the link's window count the bytes
    stream.halves.abandon = ErrorCode::ConnectionLost;
    stream.link.stream_was_useful();
    stream.kept = hub.node.peers().ok().map(|peers| peers.keep(stream.peer()));
    let data = opening.opened(origin, protocol);
    Box::pin(pump(Arc::clone(&hub.node), stream, data, active)).await;
}

/// Hands a call to the plugin that serves its protocol and sends the reply to the peer.
pub(super) async fn serve_call(
    hub: Arc<Hub>,
    mut stream: PeerStream,
    protocol: Protocol,
    payload: Payload,
    in_use: InUse,
) {
    let origin = Origin::Peer(stream.peer());
    let length = payload.0.len() as u64;
    let stopped = stream.halves.send.stopped();
    let answered = tokio::select! {
        answered = deliver::call(&hub, &origin, &protocol, payload) => answered,
        _ = stopped => return,
    };
    drop(in_use); // a peer that reads no answers gets no more streams
    let (reply, account) = match answered {
        Ok(answered) => answered,
        Err(failure) => return stream.halves.refuse(&hub.node, &told_to_peer(&failure)).await,
    };
    stream.link.stream_was_useful();
    let _kept = hub.node.peers().ok().map(|peers| peers.keep(stream.peer()));
    account.received.add(length);
    if stream.halves.reply(&hub.node, &reply.0).await {
        account.sent.add(reply.0.len() as u64);
    }
}
