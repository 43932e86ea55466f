//! The socket of one launch: accepts connections, reads the first frame of each, and starts what the frame asks for.
//! All tasks of a launch end with it.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway;
use polypeer_ipc_protocol::ids::Secret;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::launch::Launch;
use super::launch::session::no_such_stream;
use super::opening::{Connection, Opening};
use super::socket::{self, Listener, ReadHalf, WriteHalf};
use super::{Hub, StreamOpener, control};
use crate::limits::{DATA_CONNECTIONS, MAX_OPENING, timeout_of};
use crate::node::Phase;

/// Accepts connections once the node is open, until the launch is over or the node stops.
pub(crate) async fn run(hub: Arc<Hub>, opener: Arc<dyn StreamOpener>, launch: Arc<Launch>, listener: Listener) {
    let mut phase = hub.node.phase();
    tokio::select! {
        _ = phase.wait_for(|phase| *phase >= Phase::Open) => {}
        () = launch.ended() => return,
    }
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            (halves, permit) = next(&listener, &launch) => {
                let (hub, opener) = (Arc::clone(&hub), Arc::clone(&opener));
                tasks.spawn(serve(hub, opener, Arc::clone(&launch), halves, permit));
            }
            Some(_) = tasks.join_next() => {}
            () = launch.ended() => break,
        }
    }
    drop(listener);
    let _ = timeout(hub.node.timings.linger, async { while tasks.join_next().await.is_some() {} }).await;
}

async fn next(listener: &Listener, launch: &Launch) -> ((ReadHalf, WriteHalf), OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(&launch.opening).acquire_owned().await.expect("the semaphore is never closed");
        match socket::accept(listener).await {
            Ok(halves) => return (halves, permit),
            Err(error) => {
                // Out of descriptors or memory. The connection waits in the backlog meanwhile.
                tracing::warn!(plugin = %launch.plugin, %error, "cannot accept a gateway connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    hub: Arc<Hub>,
    opener: Arc<dyn StreamOpener>,
    launch: Arc<Launch>,
    (reader, writer): (ReadHalf, WriteHalf),
    permit: OwnedSemaphorePermit,
) {
    let mut connection =
        Connection { reader, writer, buffer: BytesMut::new(), server: ServerSession::default(), out: Vec::new() };
    let event = match timeout(hub.node.timings.first_frame, first(&mut connection)).await {
        Ok(Some(event)) => event,
        Ok(None) => return,
        Err(_) => {
            hub.node.counters.gateway_silent.count();
            let failure = Failure::new(ErrorCode::TimedOut, "the first frame did not arrive in time");
            return connection.refuse(&hub, failure).await;
        }
    };
    drop(permit);
    match event {
        ServerEvent::Opening(gateway::Opening::Hello { token, .. }) => {
            control::run(hub, opener, launch, connection, token).await
        }
        ServerEvent::Opening(gateway::Opening::Open { secret, target, protocol, timeout_ms }) => {
            if let Some(opening) = opening(&hub, &launch, connection, &secret).await {
                opener.open(launch, opening, target, protocol, timeout_of(timeout_ms)).await;
            }
        }
        ServerEvent::Opening(gateway::Opening::Accept { secret, stream }) => {
            if let Some(opening) = opening(&hub, &launch, connection, &secret).await {
                claim(&hub, &launch, opening, stream).await;
            }
        }
        ServerEvent::Ended(failure) => {
            tracing::debug!(plugin = %launch.plugin, %failure, "gateway connection refused");
            if failure.is(ErrorCode::Malformed) {
                hub.node.counters.gateway_malformed.count();
            }
            connection.close(&hub).await;
        }
        ServerEvent::Frame(_) => unreachable!("the first frame is an opening"),
    }
}

async fn first(connection: &mut Connection) -> Option<ServerEvent> {
    let Connection { reader, buffer, server, out, .. } = connection;
    loop {
        let mut input = &buffer[..];
        let event = server.read(&mut input, out);
        let used = buffer.len() - input.len();
        buffer.advance(used);
        if event.is_some() {
            return event;
        }
        if buffer.len() > MAX_OPENING {
            let failure = Failure::new(ErrorCode::Malformed, format!("first frame of over {MAX_OPENING} bytes"));
            server.refuse(failure.clone(), out);
            return Some(ServerEvent::Ended(failure));
        }
        buffer.reserve(1024);
        match reader.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Checks the session secret and the limit of data connections; refuses the connection if either check fails.
async fn opening(hub: &Hub, launch: &Launch, connection: Connection, secret: &Secret) -> Option<Opening> {
    if !launch.session().is_some_and(|session| session.secret.matches(secret)) {
        hub.node.counters.gateway_unauthorised.count();
        let failure = Failure::new(
            ErrorCode::Unauthorised,
            "the session secret is not that of this launch's newest session: connect again with Hello",
        );
        connection.refuse(hub, failure).await;
        return None;
    }
    let Ok(permit) = Arc::clone(&launch.data).try_acquire_owned() else {
        hub.node.counters.refused_too_many.count();
        let failure = Failure::new(
            ErrorCode::TooManyStreams,
            format!("plugin {} has {DATA_CONNECTIONS} data connections open, which is the limit", launch.plugin),
        );
        connection.refuse(hub, failure).await;
        return None;
    };
    Some(connection.into_opening(permit))
}

/// Hands a connection to the task that waits for the plugin to claim its stream.
async fn claim(hub: &Hub, launch: &Launch, opening: Opening, stream: u64) {
    let unclaimed = match launch.session() {
        Some(session) => session.claim(stream, Ok(Box::new(opening))),
        None => Some(Ok(Box::new(opening))),
    };
    if let Some(Ok(opening)) = unclaimed {
        opening.refuse(hub, no_such_stream(stream)).await;
    }
}
