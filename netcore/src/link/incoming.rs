//! Streams and calls that a peer opens, from their header to their end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Payload};
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frames::FrameReceiver;
use super::stream::PeerStream;
use super::streams::{Came, InUse};
use super::{Link, pump};
use crate::gateway::deliver::{self, Claimed};
use crate::grants::told_to_peer;
use crate::limits::{HEADERLESS, LATE_HEADERS};
use crate::node::Node;
use crate::query::{self, Asker};
use crate::wire::{Broken, StreamKind};

/// Accepts streams until the connection is closed; returns those that are still being served.
pub(super) async fn run(node: &Arc<Node>, link: &Arc<Link>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if link.ready().await.is_err() {
        return tasks;
    }
    let headerless = Arc::new(Semaphore::new(HEADERLESS));
    loop {
        let next = async {
            let permit = Arc::clone(&headerless).acquire_owned().await.expect("the semaphore is never closed");
            link.connection.accept_bi().await.map(|halves| (halves, permit))
        };
        tokio::select! {
            accepted = next => match accepted {
                Ok(((send, recv), permit)) => {
                    let mut stream = PeerStream::new(Arc::clone(link), send, recv);
                    match link.stream_came() {
                        Came::Looked => {
                            tasks.spawn(serve(Arc::clone(node), stream, permit));
                        }
                        Came::OverRate => {
                            node.counters.peer_streams_over_rate.count();
                            stream.halves.abandon = ErrorCode::Busy;
                        }
                        Came::Flood => link.misbehaved(node, "a flood of streams that come to nothing"),
                    }
                }
                Err(_) => return tasks,
            },
            Some(_) = tasks.join_next() => {}
            _ = link.connection.closed() => return tasks,
        }
    }
}

async fn serve(node: Arc<Node>, mut stream: PeerStream, permit: OwnedSemaphorePermit) {
    let header = match timeout(node.timings.header, stream.halves.header()).await {
        Ok(Ok(header)) => header,
        Ok(Err(broken)) => return gone(&node, &stream, broken),
        Err(_) => return late(&node, &stream),
    };
    let Some(header) = header else {
        let failure = Failure::new(ErrorCode::Unsupported, "this node knows no streams of this kind");
        return stream.halves.refuse(&node, &failure).await;
    };
    match header.kind {
        StreamKind::Internal if query::is_of_frames(&header.protocol) => {
            drop(permit);
            let link = Arc::clone(&stream.link);
            if let Some(receiver) = FrameReceiver::accept(&node, stream).await {
                link.stream_was_useful();
                Box::pin(query::serve_frames(node, header.protocol, receiver)).await;
            }
        }
        StreamKind::Internal => {
            let limit = node.timings.header;
            let Some(payload) = payload(&node, &mut stream, limit).await else { return };
            drop(permit);
            let in_use = stream.link.stream_in_use();
            Box::pin(serve_question(node, stream, header.protocol, payload, in_use)).await;
        }
        StreamKind::Stream => {
            drop(permit);
            let in_use = stream.link.stream_in_use();
            Box::pin(serve_stream(node, stream, header.protocol, in_use)).await;
        }
        StreamKind::Call => {
            // A call is in use once it is there whole, so that half of one does not count as a plugin's.
            let limit = node.timings.claim;
            let Some(payload) = payload(&node, &mut stream, limit).await.map(Payload) else { return };
            drop(permit);
            let in_use = stream.link.stream_in_use();
            Box::pin(serve_call(node, stream, header.protocol, payload, in_use)).await;
        }
    }
}

/// The payload of a question or a call; without, the stream is done with.
async fn payload(node: &Node, stream: &mut PeerStream, limit: Duration) -> Option<Bytes> {
    let link = Arc::clone(&stream.link);
    match timeout(limit, stream.halves.read_payload(MAX_PAYLOAD, &link.payloads)).await {
        Ok(Ok(Some(payload))) => return Some(payload),
        Ok(Ok(None)) => {
            node.counters.peer_payloads_refused.count();
            let text = "too many payloads are on their way already; send fewer at once";
            stream.halves.refuse(node, &Failure::new(ErrorCode::Busy, text)).await;
        }
        Ok(Err(broken)) => gone(node, stream, broken),
        Err(_) => late(node, stream),
    }
    None
}

/// What was to come on a stream did not come in time.
fn late(node: &Node, stream: &PeerStream) {
    node.counters.peer_headers_late.count();
    if stream.link.header_late() > LATE_HEADERS {
        stream.link.misbehaved(node, "too many streams without a header or payload");
    }
}

fn gone(node: &Node, stream: &PeerStream, broken: Broken) {
    if let Broken::Rule(reason) = broken {
        stream.link.misbehaved(node, &reason);
    }
}

async fn serve_stream(node: Arc<Node>, mut stream: PeerStream, protocol: Protocol, in_use: InUse) {
    let origin = Origin::Peer(stream.peer());
    let claimed = tokio::select! {
        claimed = deliver::stream(&node, &origin, &protocol) => claimed,
        broken = stream.halves.given_up() => return gone(&node, &stream, broken),
    };
    let Claimed { opening, active } = match claimed {
        Ok(claimed) => claimed,
        Err(failure) => {
            drop(in_use); // a peer that does not take refusals gets no more streams
            return stream.halves.refuse(&node, &told_to_peer(&failure)).await;
        }
    };
    if !stream.halves.accept(&node).await {
        return opening.refuse(&node, Failure::from(ErrorCode::Cancelled)).await;
    }
    stream.halves.abandon = ErrorCode::ConnectionLost;
    stream.link.stream_was_useful();
    let _kept = node.peers().ok().map(|peers| peers.keep(stream.peer()));
    let data = opening.opened(origin, protocol);
    Box::pin(pump(node, stream, data, active)).await;
}

/// Answers a question that this netcore answers itself.
async fn serve_question(node: Arc<Node>, mut stream: PeerStream, protocol: Protocol, payload: Bytes, in_use: InUse) {
    let asker = Asker { node: stream.peer(), ip: stream.link.judged_ip() };
    let answered = query::serve(&node, &asker, stream.link.proved_address(), &protocol, payload).await;
    drop(in_use); // a peer that does not take answers gets no more streams
    match answered {
        Ok(reply) => {
            stream.link.stream_was_useful();
            stream.halves.reply(&node, &reply).await;
        }
        Err(failure) if failure.is(ErrorCode::PeerMisbehaved) => stream.link.misbehaved(&node, &failure.message),
        Err(failure) => stream.halves.refuse(&node, &failure).await,
    }
}

async fn serve_call(node: Arc<Node>, mut stream: PeerStream, protocol: Protocol, payload: Payload, in_use: InUse) {
    let origin = Origin::Peer(stream.peer());
    let length = payload.0.len() as u64;
    let stopped = stream.halves.send.stopped();
    let answered = tokio::select! {
        answered = deliver::call(&node, &origin, &protocol, payload) => answered,
        _ = stopped => return,
    };
    drop(in_use); // a peer that does not take answers gets no more streams
    let (reply, account) = match answered {
        Ok(answered) => answered,
        Err(failure) => return stream.halves.refuse(&node, &told_to_peer(&failure)).await,
    };
    stream.link.stream_was_useful();
    let _kept = node.peers().ok().map(|peers| peers.keep(stream.peer()));
    account.received.add(length);
    if stream.halves.reply(&node, &reply.0).await {
        account.sent.add(reply.0.len() as u64);
    }
}
