//! The socket of one launch: accepts connections, reads the first frame of each, and starts what the frame asks for.
//! A data connection that is kept comes back here when its stream is over. All tasks of a launch end with it.

use std::sync::{Arc, Weak};

use bytes::{Buf, BytesMut};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::frame::{DataHeader, HEADER};
use polypeer_ipc_protocol::gateway::{self, Scope};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::session::server::ServerEvent;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::keep::{Home, Keeper, Kept};
use super::launch::Launch;
use super::launch::session::{Session, no_such_stream, not_served};
use super::opening::{Connection, Opening};
use super::socket::{self, Listener, ReadHalf, WriteHalf};
use super::{Hub, StreamOpener, control, keep};
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
    let (kept, mut come_back) = keep::queue();
    let server = Server { hub: Arc::clone(&hub), opener, launch: Arc::clone(&launch), kept };
    loop {
        tokio::select! {
            (halves, permit) = next(&listener, &launch) => drop(tasks.spawn(server.clone().serve(halves, permit))),
            Some(kept) = come_back.recv() => drop(tasks.spawn(server.clone().serve_again(kept))),
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

/// What serves the connections of a launch.
#[derive(Clone)]
struct Server {
    hub: Arc<Hub>,
    opener: Arc<dyn StreamOpener>,
    launch: Arc<Launch>,
    kept: mpsc::Sender<Kept>,
}

impl Server {
    /// Serves a new connection.
    async fn serve(self, (reader, writer): (ReadHalf, WriteHalf), permit: OwnedSemaphorePermit) {
        let hub = &self.hub;
        let mut connection = Connection::new(reader, writer, BytesMut::new());
        let event = match timeout(hub.node.timings.first_frame, first(&mut connection)).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) => {
                hub.node.counters.gateway_silent.count();
                let failure = Failure::new(ErrorCode::TimedOut, "the first frame did not arrive in time");
                return connection.refuse(hub, failure).await;
            }
        };
        drop(permit);
        match event {
            ServerEvent::Opening(gateway::Opening::Hello { token, .. }) => {
                control::run(self.hub, self.opener, self.launch, connection, token).await;
            }
            event => self.open(connection, event, None).await,
        }
    }

    /// Serves a data connection whose stream is over: waits for its next opening as long as its session lasts.
    async fn serve_again(self, kept: Kept) {
        let Kept { reader, writer, buffer, permit, place, mut closed } = kept;
        let mut connection = Connection::new(reader, writer, buffer);
        let event = tokio::select! {
            event = first_again(&mut connection) => event,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        drop(place);
        match event {
            Some(ServerEvent::Opening(gateway::Opening::Hello { .. })) => {
                self.hub.node.counters.gateway_malformed.count();
                let failure = Failure::new(ErrorCode::Malformed, "a data connection cannot become a control session");
                connection.refuse(&self.hub, failure).await;
            }
            Some(event) => self.open(connection, event, Some(permit)).await,
            None => {}
        }
    }

    /// Starts what the opening of a data connection asks for. `permit` is the connection's, if it has one already.
    async fn open(self, connection: Connection, event: ServerEvent, permit: Option<OwnedSemaphorePermit>) {
        let Self { hub, opener, launch, .. } = &self;
        match event {
            ServerEvent::Opening(gateway::Opening::Open { secret, target, protocol, timeout_ms }) => {
                if let Some((opening, _)) = self.admit(connection, &secret, permit).await {
                    opener.open(Arc::clone(launch), opening, target, protocol, timeout_of(timeout_ms)).await;
                }
            }
            ServerEvent::Opening(gateway::Opening::Accept { secret, stream }) => {
                if let Some((opening, session)) = self.admit(connection, &secret, permit).await
                    && let Some(Ok(opening)) = session.claim(stream, Ok(Box::new(opening)))
                {
                    opening.refuse(hub, no_such_stream(stream)).await;
                }
            }
            ServerEvent::Opening(gateway::Opening::AcceptNext { secret, protocol, scope }) => {
                if let Some((opening, session)) = self.admit(connection, &secret, permit).await
                    && let Err((opening, failure)) = accept_next(hub, &session, (scope, protocol), opening)
                {
                    opening.refuse(hub, failure).await;
                }
            }
            ServerEvent::Ended(failure) => {
                tracing::debug!(plugin = %launch.plugin, %failure, "gateway connection refused");
                if failure.is(ErrorCode::Malformed) {
                    hub.node.counters.gateway_malformed.count();
                }
                connection.close(hub).await;
            }
            ServerEvent::Opening(gateway::Opening::Hello { .. }) | ServerEvent::Frame(_) => {
                unreachable!("the opening of a data connection")
            }
        }
    }

    /// Checks the session secret and the limit of data connections; refuses the connection if either check fails.
    async fn admit(
        &self,
        connection: Connection,
        secret: &Secret,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<(Opening, Arc<Session>)> {
        let Self { hub, launch, kept, .. } = self;
        let Some(session) = launch.session().filter(|session| session.secret.matches(secret)) else {
            hub.node.counters.gateway_unauthorised.count();
            let failure = Failure::new(
                ErrorCode::Unauthorised,
                "the session secret is not that of this launch's newest session: connect again with Hello",
            );
            connection.refuse(hub, failure).await;
            return None;
        };
        let permit = permit.map_or_else(|| Arc::clone(&launch.data).try_acquire_owned(), Ok);
        let Ok(permit) = permit else {
            hub.node.counters.refused_too_many.count();
            let failure = Failure::new(
                ErrorCode::TooManyStreams,
                format!("plugin {} has {DATA_CONNECTIONS} data connections open, which is the limit", launch.plugin),
            );
            connection.refuse(hub, failure).await;
            return None;
        };
        let keeper = session.keeps_connections().then(|| Arc::downgrade(&session) as Weak<dyn Keeper>);
        Some((connection.into_opening(Home::new(permit, keeper, kept.clone())), session))
    }
}

/// Lets a connection wait for the next stream to a listener of the session. Returns it, with the reason, if it cannot.
fn accept_next(
    hub: &Hub,
    session: &Session,
    key: (Scope, Protocol),
    opening: Opening,
) -> Result<(), (Box<Opening>, Failure)> {
    let router = hub.router(); // held, so that the listener is not removed meanwhile
    if !router.is_of(&key, session.id) {
        return Err((Box::new(opening), not_served(&key.1)));
    }
    session.accept_next(key, Box::new(opening))
}

/// The next opening on a data connection that was kept. A `STOP` may precede it: the plugin sent that before it knew
/// that the stream was over.
async fn first_again(connection: &mut Connection) -> Option<ServerEvent> {
    while connection.buffer.len() < HEADER {
        connection.buffer.reserve(1024);
        match connection.reader.read_buf(&mut connection.buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    let header = connection.buffer.first_chunk().expect("as long as a header");
    if matches!(DataHeader::from_bytes(*header), Ok(DataHeader::Stop(_))) {
        connection.buffer.advance(HEADER);
    }
    first(connection).await
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
