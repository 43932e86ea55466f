//! Incoming streams: streams, calls and questions that a peer opens, from their header to their end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frames::FrameReceiver;
use super::stream::PeerStream;
use super::streams::{Admission, InUse};
use super::{LinkHandler, PeerLink};
use crate::limits::{HEADERLESS, LATE_HEADERS};
use crate::node::Node;
use crate::wire::StreamKind;

/// Accepts streams until the connection is closed; returns those that are still being served.
pub(super) async fn run(node: &Arc<Node>, handler: &Arc<dyn LinkHandler>, link: &Arc<PeerLink>) -> JoinSet<()> {
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
                        Admission::Serve => {
                            tasks.spawn(serve(Arc::clone(node), Arc::clone(handler), stream, permit));
                        }
                        Admission::OverRate => {
                            node.counters.peer_streams_over_rate.count();
                            stream.halves.abandon = ErrorCode::Busy;
                        }
                        Admission::Flood => link.misbehaved(node, "a flood of streams that come to nothing"),
                    }
                }
                Err(_) => return tasks,
            },
            Some(_) = tasks.join_next() => {}
            _ = link.connection.closed() => return tasks,
        }
    }
}

async fn serve(node: Arc<Node>, handler: Arc<dyn LinkHandler>, mut stream: PeerStream, permit: OwnedSemaphorePermit) {
    let header = match timeout(node.timings.header, stream.halves.header()).await {
        Ok(Ok(header)) => header,
        Ok(Err(broken)) => return stream.gone(&node, broken),
        Err(_) => return late(&node, &stream),
    };
    drop(permit);
    let Some(header) = header else {
        let failure = Failure::new(ErrorCode::Unsupported, "this node knows no streams of this kind");
        return stream.halves.refuse(&node, &failure).await;
    };
    match header.kind {
        StreamKind::Internal if handler.carries_frames(&header.protocol) => {
            let link = Arc::clone(&stream.link);
            if let Some(receiver) = FrameReceiver::accept(&node, stream).await {
                link.stream_was_useful();
                handler.frames(header.protocol, receiver).await;
            }
        }
        StreamKind::Internal => {
            let limit = node.timings.header;
            let Some(payload) = payload(&node, &mut stream, limit).await else { return };
            let in_use = stream.link.stream_in_use();
            serve_question(&node, &*handler, stream, header.protocol, payload, in_use).await;
        }
        StreamKind::Stream => {
            let in_use = stream.link.stream_in_use();
            handler.stream(stream, header.protocol, in_use).await;
        }
        StreamKind::Call => {
            // A call counts as in use once it is complete, so that an incomplete one does not occupy a plugin's place.
            let limit = node.timings.claim;
            let Some(payload) = payload(&node, &mut stream, limit).await.map(Payload) else { return };
            let in_use = stream.link.stream_in_use();
            handler.call(stream, header.protocol, payload, in_use).await;
        }
    }
}

/// Reads the payload of a question or a call. On `None` the stream has been refused or has failed, and is over.
async fn payload(node: &Node, stream: &mut PeerStream, limit: Duration) -> Option<Bytes> {
    let link = Arc::clone(&stream.link);
    match timeout(limit, stream.halves.read_payload(MAX_PAYLOAD, &link.payloads)).await {
        Ok(Ok(Some(payload))) => return Some(payload),
        Ok(Ok(None)) => {
            node.counters.peer_payloads_refused.count();
            let text = "too many payloads are on their way already; send fewer at once";
            stream.halves.refuse(node, &Failure::new(ErrorCode::Busy, text)).await;
        }
        Ok(Err(broken)) => stream.gone(node, broken),
        Err(_) => late(node, stream),
    }
    None
}

/// Counts a header or payload that did not arrive in time; disconnects a peer with more than [`LATE_HEADERS`] of them.
fn late(node: &Node, stream: &PeerStream) {
    node.counters.peer_headers_late.count();
    if stream.link.header_late() > LATE_HEADERS {
        stream.link.misbehaved(node, "too many streams without a header or payload");
    }
}

/// Answers a question that this netcore answers itself.
async fn serve_question(
    node: &Node,
    handler: &dyn LinkHandler,
    mut stream: PeerStream,
    protocol: Protocol,
    payload: Bytes,
    in_use: InUse,
) {
    let answered = handler.answer(&stream.link, protocol, payload).await;
    drop(in_use); // a peer that reads no answers gets no more streams
    match answered {
        Ok(reply) => {
            stream.link.stream_was_useful();
            stream.halves.reply(node, &reply).await;
        }
        Err(failure) if failure.is(ErrorCode::PeerMisbehaved) => stream.link.misbehaved(node, &failure.message),
        Err(failure) => stream.halves.refuse(node, &failure).await,
    }
}
