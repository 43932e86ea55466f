//! The task of a control session. It alone reads and writes the session's connection and tracks its requests. While
//! [`RESPONSE_BACKLOG`] bytes for the plugin are unsent, it takes no more requests. It takes all that is there, of
//! answers, events and requests, before it writes, so that one system call writes as much as possible.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{ClientFrame, Grants, Response, Welcome};
use polypeer_ipc_protocol::ids::Secret;
use polypeer_ipc_protocol::limits::VERSION;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use super::launch::Launch;
use super::launch::session::Session;
use super::opening::Connection;
use super::outbox::KEPT;
use super::requests::{self, Handled};
use super::{Hub, StreamOpener, provided_names};
use crate::limits::{EVENT_BACKLOG, RESPONSE_BACKLOG};

/// Least and most bytes requested per read: for a few small requests, and for a full pipeline of them.
const READ: RangeInclusive<usize> = (4 << 10)..=(64 << 10);
/// Most reads before what is to be written is written: a plugin that sends without end gets its events and answers.
const READS_PER_WRITE: usize = 4;

/// Runs a session from its `Hello` to its end.
pub(crate) async fn run(
    hub: Arc<Hub>,
    opener: Arc<dyn StreamOpener>,
    launch: Arc<Launch>,
    mut connection: Connection,
    token: Secret,
) {
    let session = match begin(&hub, &launch, &mut connection, &token) {
        Ok(session) => session,
        Err(failure) => return connection.refuse(&hub, failure).await,
    };
    let mut task = Control {
        hub: Arc::clone(&hub),
        opener,
        session: Arc::clone(&session),
        calls: JoinSet::new(),
        cancels: HashMap::new(),
        read_size: *READ.start(),
    };
    let ended = Box::pin(task.run(&mut connection)).await;
    task.calls.shutdown().await; // nothing that a pending request begins may outlive the session
    hub.node.counters.gateway_unsupported.add(connection.server.unsupported());
    end(&hub, &session, ended);
    // Also when the plugin has only ended its sending direction: it gets the answers that are ready.
    connection.flush(&hub).await;
    session.closed();
    connection.close(&hub).await;
}

fn begin(
    hub: &Arc<Hub>,
    launch: &Arc<Launch>,
    connection: &mut Connection,
    token: &Secret,
) -> Result<Arc<Session>, Failure> {
    if !launch.is_token(token) {
        hub.node.counters.gateway_unauthorised.count();
        tracing::warn!(plugin = %launch.plugin, "a connection to this plugin's gateway socket showed a wrong token");
        return Err(Failure::new(ErrorCode::Unauthorised, "the token is not the one this launch was given"));
    }
    hub.node.check_running()?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let session = Arc::new(Session::new(hub.node.number(), Arc::clone(launch), Secret(secret)));
    let welcome = Welcome {
        version: VERSION,
        node: hub.node.id,
        plugin: launch.plugin.clone(),
        grants: Grants::clone(&launch.grants()),
        secret: session.secret.clone(),
    };
    let superseded = launch.begin_session(Arc::clone(&session))?;
    connection.server.welcome(welcome, &mut connection.out).map_err(|_| {
        launch.end_session(&session);
        Failure::new(ErrorCode::Internal, "the grants of this plugin do not fit in a frame: shorten its lists")
    })?;
    if let Some(old) = superseded {
        retire(hub, &old);
        old.end(Failure::new(ErrorCode::Superseded, "a newer session of the same launch took over"));
    }
    hub.node.tell(AdminEvent::SessionUp { launch: launch.number });
    Ok(session)
}

/// Removes a session's listeners, subscriptions and provided names. Streams and calls for its protocols are held a
/// while for the next session.
fn retire(hub: &Arc<Hub>, session: &Session) {
    hub.router().handle_session_ended(session.id, std::time::Instant::now());
    session.ended();
    hub.gossip.session_ended(session.id);
    hub.datagrams.handle_session_ended(session.id);
    provided_names::handle_session_ended(hub, session.id);
    hub.listeners_changed();
}

fn end(hub: &Arc<Hub>, session: &Arc<Session>, failure: Option<Failure>) {
    retire(hub, session);
    if session.launch.end_session(session) {
        hub.node.tell(AdminEvent::SessionDown { launch: session.launch.number, failure });
    }
}

struct Control {
    hub: Arc<Hub>,
    opener: Arc<dyn StreamOpener>,
    session: Arc<Session>,
    calls: JoinSet<(u64, Response)>,
    cancels: HashMap<u64, oneshot::Sender<()>>,
    read_size: usize,
}

impl Control {
    /// Runs until the plugin disconnects (`None`) or netcore ends the session; then the reason is in `out`, too.
    async fn run(&mut self, connection: &mut Connection) -> Option<Failure> {
        let Connection { reader, writer, buffer, server, out } = connection;
        let session = Arc::clone(&self.session);
        let ending = session.ending();
        tokio::pin!(ending);
        let mut reads = 0;
        loop {
            let mut hungry = false;
            while out.len() < RESPONSE_BACKLOG && !hungry {
                match next_event(buffer, server, out) {
                    Some(ServerEvent::Ended(failure)) => {
                        self.hub.node.counters.gateway_malformed.count();
                        return Some(failure);
                    }
                    Some(ServerEvent::Frame(frame)) => self.handle(frame, server, out),
                    Some(ServerEvent::Opening(_)) => unreachable!("a running session has no opening"),
                    None => hungry = true,
                }
            }
            let room = out.len() < RESPONSE_BACKLOG;
            let reading = hungry && (out.is_empty() || reads < READS_PER_WRITE);
            tokio::select! {
                biased;
                failure = &mut ending => {
                    server.close(failure.clone(), out);
                    return Some(failure);
                }
                Some(done) = self.calls.join_next(), if room && !self.calls.is_empty() => {
                    self.answer(done, server, out);
                    while out.len() < RESPONSE_BACKLOG
                        && let Some(done) = self.calls.try_join_next()
                    {
                        self.answer(done, server, out);
                    }
                }
                () = session.outbox.added(), if out.len() < EVENT_BACKLOG => session.outbox.take(out),
                read = read_some(reader, buffer, &mut self.read_size), if reading => {
                    read?;
                    reads += 1;
                }
                written = writer.write(out), if !out.is_empty() => match written {
                    Ok(count) if count > 0 => {
                        reads = 0;
                        drop(out.drain(..count));
                        if out.is_empty() {
                            out.shrink_to(KEPT);
                        }
                    }
                    _ => return None,
                },
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Passes on the result of a request.
    fn answer(&mut self, done: Result<(u64, Response), JoinError>, server: &mut ServerSession, out: &mut Vec<u8>) {
        if let Ok((id, response)) = done {
            self.cancels.remove(&id);
            respond(server, id, response, out);
        }
    }

    fn handle(&mut self, frame: ClientFrame, server: &mut ServerSession, out: &mut Vec<u8>) {
        match frame {
            ClientFrame::Request { id, request } => {
                match requests::handle(&self.hub, &self.opener, &self.session, request) {
                    Handled::Now(response) => respond(server, id, response, out),
                    Handled::AfterEvents(response) => {
                        self.session.outbox.take(out);
                        respond(server, id, response, out);
                    }
                    Handled::Later(work) => {
                        let (cancel, cancelled) = oneshot::channel();
                        self.cancels.insert(id, cancel);
                        self.calls.spawn(async move {
                            tokio::select! {
                                response = work => (id, response),
                                Ok(()) = cancelled => (id, Response::Failed(ErrorCode::Cancelled.into())),
                            }
                        });
                    }
                }
            }
            ClientFrame::Cancel { id } => {
                if let Some(cancel) = self.cancels.remove(&id) {
                    let _ = cancel.send(());
                }
            }
            ClientFrame::Answer { call, payload } => self.session.answer(call, Ok(payload)),
            ClientFrame::Decline { call, failure } => self.session.answer(call, Err(failure)),
            ClientFrame::Alive => {
                if self.session.alive() {
                    self.hub.node.tell(AdminEvent::SessionAlive { launch: self.session.launch.number });
                }
            }
        }
    }
}

fn next_event(buffer: &mut BytesMut, server: &mut ServerSession, out: &mut Vec<u8>) -> Option<ServerEvent> {
    let mut input = &buffer[..];
    let event = server.read(&mut input, out);
    let used = buffer.len() - input.len();
    buffer.advance(used);
    event
}

/// Reads what is there, at most `size` bytes. `size` follows what the plugin sends at a time.
async fn read_some(reader: &mut super::socket::ReadHalf, buffer: &mut BytesMut, size: &mut usize) -> Option<usize> {
    if buffer.is_empty() && buffer.capacity() > *READ.end() {
        *buffer = BytesMut::new();
    }
    buffer.reserve(*size);
    let count = reader.read_buf(buffer).await.ok().filter(|count| *count > 0)?;
    *size = if count >= *size { *size * 2 } else { (*size).min(count * 2) }.clamp(*READ.start(), *READ.end());
    Some(count)
}

fn respond(server: &mut ServerSession, id: u64, response: Response, out: &mut Vec<u8>) {
    if server.respond(id, response, out).is_err() {
        let failure = Failure::new(ErrorCode::Internal, "the answer does not fit in a frame");
        server.respond(id, Response::Failed(failure), out).expect("a failure is small");
    }
}
