//! The gateway's client for Rust: a control session ([`Client`], [`Events`]) and streams ([`DataStream`]). The command
//! line and netcore's tests use it. It does not reconnect by itself.
//!
//! ```text
//! Client (cheap to clone) ──Command──► Driver (one task) ◄──frames──► netcore
//!    ▲                                  │      │
//!    └──────── responses (oneshot) ◄────┘      ├──► Events (bounded; on overflow dropped, counted and refused)
//!                                              └──► Subscription (one for each topic; bounded, drops are counted)
//! Client::open, Client::accept ── a connection of its own ──► DataStream ── ended by both sides ──► Pool, if kept
//! ```

mod command;
mod datagrams;
mod driver;
mod halves;
mod incoming;
mod pool;
mod records;
mod stream;
mod topics;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::error::{ErrorCode, Failure};
use crate::frame::DataHeader;
use crate::gateway::{
    CallMode, Event, NodeInfo, Opening, OpeningReply, Payload, PeerInfo, Request, Response, Scope, Target, Welcome,
};
use crate::ids::{Name, NodeId, Protocol, Secret};
use crate::limits::MAX_REQUESTS;
use crate::session::client::{ClientEvent, ClientSession};
use crate::session::decode;
use crate::transport::{self, FrameReader, FrameWriter, TransportError};
use command::Command;
use driver::Driver;
use pool::Pool;

pub use command::Message;
pub use halves::{StreamReader, StreamWatch, StreamWriter};
pub use incoming::StreamError;
pub use records::Stored;
pub use stream::DataStream;
pub use topics::Subscription;

/// Queued commands to the driver; further callers wait.
const COMMANDS: usize = 64;
/// Queued events. Calls dominate; netcore allows 256 pending calls and 128 unclaimed streams.
const EVENTS: usize = 512;
/// Most bytes sent with an opening. Netcore takes more of them, and more fit in a socket's buffer, so that writing them
/// never waits for the answer.
const MAX_FIRST: usize = 32 << 10;
/// Of [`MAX_REQUESTS`], reserved for the driver's own requests.
const RESERVED: usize = 16;

/// An error of the client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `POLYPEER_GATEWAY` or `POLYPEER_TOKEN` is missing or invalid: this process is not a plugin.
    #[error("{name} is missing or invalid; start this program as a plugin")]
    Environment { name: &'static str },
    #[error("gateway not reachable")]
    Connect(#[from] io::Error),
    #[error("gateway connection broke")]
    Transport(#[from] TransportError),
    /// Netcore or the other side refused.
    #[error("{0}")]
    Refused(Failure),
    /// The control session ended, for this reason. A new one is needed.
    #[error("session ended: {0}")]
    Ended(Failure),
}

impl ClientError {
    /// The failure as it crosses processes: the one received, or `connection lost`.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Ended(failure) => failure.clone(),
            Self::Environment { .. } => Failure::new(ErrorCode::BadArgument, self.to_string()),
            Self::Connect(_) | Self::Transport(_) => Failure::new(ErrorCode::ConnectionLost, with_sources(self)),
        }
    }
}

/// A control session. Clones share it; it ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct Shared {
    pool: Arc<Pool>,
    welcome: Welcome,
    /// Permits for requests in flight; further callers wait for one.
    slots: Arc<Semaphore>,
    tickets: AtomicU64,
    ended: watch::Receiver<Option<Failure>>,
}

impl Client {
    /// Connects to the gateway socket at `path` and starts the control session of the launch that `token` belongs to,
    /// replacing an earlier one. Waits while netcore restarts.
    pub async fn connect(path: &Path, token: Secret) -> Result<(Self, Events), ClientError> {
        let stream = transport::connect(path).await?;
        let (read, write) = transport::split(stream);
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let mut session = ClientSession::new(token, writer.buffer());
        let sent = writer.flush().await;
        let body = first_reply(sent, &mut reader).await?;
        let welcome = match session.handle_frame(body) {
            Some(ClientEvent::Welcome(welcome)) => welcome,
            Some(ClientEvent::Ended(failure)) => return Err(ClientError::Refused(failure)),
            Some(ClientEvent::Response { .. } | ClientEvent::Event(_)) | None => {
                unreachable!("a session begins with Welcome or ends")
            }
        };
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (ended_sender, ended) = watch::channel(None);
        let dropped = Arc::new(AtomicU64::new(0));
        let driver = Driver {
            session,
            reader,
            writer,
            commands: command_receiver,
            events: event_sender,
            dropped: dropped.clone(),
            ended: ended_sender,
            waiting: HashMap::new(),
            routes: HashMap::new(),
        };
        tokio::spawn(driver.run());
        let slots = Arc::new(Semaphore::new(MAX_REQUESTS - RESERVED));
        let shared = Shared { pool: Pool::new(path), welcome, slots, tickets: AtomicU64::new(0), ended: ended.clone() };
        Ok((Self { shared: Arc::new(shared), commands }, Events { events, dropped, ended, closed: false }))
    }

    /// [`Self::connect`] with the socket and token in the environment.
    pub async fn from_environment() -> Result<(Self, Events), ClientError> {
        let path = std::env::var_os("POLYPEER_GATEWAY").ok_or(ClientError::Environment { name: "POLYPEER_GATEWAY" })?;
        let token = std::env::var("POLYPEER_TOKEN").ok().and_then(|text| text.parse().ok());
        let token = token.ok_or(ClientError::Environment { name: "POLYPEER_TOKEN" })?;
        Self::connect(Path::new(&path), token).await
    }

    /// The start of the session. Grants may have changed since; see [`Event::GrantsChanged`].
    pub fn welcome(&self) -> &Welcome {
        &self.shared.welcome
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.shared.welcome.node
    }

    /// Waits for the end of the session and returns the reason.
    pub async fn ended(&self) -> Failure {
        let mut ended = self.shared.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| ErrorCode::ConnectionLost.into())
    }

    // Streams.

    /// Opens a stream and waits until the other side has accepted it. `timeout` (`None`: 30 s) covers all of it;
    /// netcore enforces it.
    pub async fn open(
        &self,
        target: Target,
        protocol: Protocol,
        timeout: Option<Duration>,
    ) -> Result<DataStream, ClientError> {
        self.open_with(target, protocol, &[], timeout).await
    }

    /// [`Self::open`] that sends `first` with the opening: it travels before the other side has accepted the stream.
    /// It is discarded if that refuses it; do not rely on that, since a refusal may be a connection that was lost after
    /// the other side had read it. `timeout` ends with the acceptance; what is beyond 32 KiB is written after it.
    pub async fn open_with(
        &self,
        target: Target,
        protocol: Protocol,
        first: &[u8],
        timeout: Option<Duration>,
    ) -> Result<DataStream, ClientError> {
        let secret = self.shared.welcome.secret.clone();
        let (early, later) = first.split_at(first.len().min(MAX_FIRST));
        let opening = Opening::Open { secret, target, protocol, timeout_ms: milliseconds(timeout) };
        let mut stream = self.data(opening, early).await?;
        stream.write_all(later).await.map_err(TransportError::Io)?;
        Ok(stream)
    }

    /// Claims a stream announced by [`Event::Stream`].
    pub async fn accept(&self, stream: u64) -> Result<DataStream, ClientError> {
        self.data(Opening::Accept { secret: self.shared.welcome.secret.clone(), stream }, &[]).await
    }

    /// Waits for the next stream to a protocol that this session serves, and claims it at once: no event announces it.
    /// Up to 64 may wait; streams beyond them come as [`Event::Stream`]. Only after [`Self::keep_connections`]. Fails
    /// with `cancelled` when the opener has given its stream up; call it again then. Not safe to cancel: the future may
    /// hold a stream that was accepted, so give it a task of its own.
    pub async fn accept_next(&self, protocol: Protocol, scope: Scope) -> Result<DataStream, ClientError> {
        let secret = self.shared.welcome.secret.clone();
        self.data(Opening::AcceptNext { secret, protocol, scope }, &[]).await
    }

    /// Keeps the connections of streams that both sides have ended for the next streams, so that those open without a
    /// new connection. Refused with `unsupported` by a netcore of an earlier version.
    pub async fn keep_connections(&self) -> Result<(), ClientError> {
        self.shared.pool.set_asked(true);
        let kept = self.done(Request::KeepConnections).await;
        self.shared.pool.set_asked(kept.is_ok());
        kept
    }

    /// Refuses an announced stream. Polypeer's own codes reach the opener as `refused`.
    pub async fn refuse(&self, stream: u64, failure: Failure) -> Result<(), ClientError> {
        self.done(Request::RefuseStream { stream, failure: failure.cut() }).await
    }

    async fn data(&self, opening: Opening, first: &[u8]) -> Result<DataStream, ClientError> {
        let mut io = self.shared.pool.connection().await?;
        let mut writer = FrameWriter::new(&mut *io);
        writer.push(&opening).map_err(TransportError::Codec)?;
        if !first.is_empty() {
            writer.buffer().extend_from_slice(&DataHeader::Data(first.len()).to_bytes());
            writer.buffer().extend_from_slice(first);
        }
        let sent = writer.flush().await;
        let mut reader = FrameReader::new(&mut *io);
        let body = first_reply(sent, &mut reader).await?;
        match decode::opening_reply(body).map_err(|error| ClientError::Refused(error.into()))? {
            OpeningReply::Opened { origin, protocol } => {
                let (_, rest) = reader.into_parts();
                Ok(DataStream::new(io, rest, origin, protocol))
            }
            OpeningReply::Refused(failure) => Err(ClientError::Refused(failure)),
            OpeningReply::Welcome(_) => Err(ClientError::Refused(ErrorCode::Malformed.into())),
        }
    }

    // Serving.

    /// Serves a protocol until [`Self::unlisten`] or the end of the session; streams and calls come as events.
    pub async fn listen(&self, protocol: Protocol, scope: Scope, calls: CallMode) -> Result<(), ClientError> {
        self.done(Request::Listen { protocol, scope, calls }).await
    }

    /// Stops serving a protocol. Claimed streams continue.
    pub async fn unlisten(&self, protocol: Protocol, scope: Scope) -> Result<(), ClientError> {
        self.done(Request::Unlisten { protocol, scope }).await
    }

    /// Replies to [`Event::Call`]; if the reply is over 64 KiB, the caller gets `too large`. Succeeds even if the
    /// caller has cancelled.
    pub async fn answer(&self, call: u64, payload: impl Into<Bytes>) -> Result<(), ClientError> {
        self.command(Command::Answer { call, payload: Payload(payload.into()) }).await
    }

    /// Declines [`Event::Call`]. Polypeer's own codes reach the caller as `refused`.
    pub async fn decline(&self, call: u64, failure: Failure) -> Result<(), ClientError> {
        self.command(Command::Decline { call, failure }).await
    }

    // Requests.

    /// Sends one message of at most 64 KiB and waits for the reply. Dropping the future cancels the call.
    pub async fn call(
        &self,
        target: Target,
        protocol: Protocol,
        payload: impl Into<Bytes>,
        timeout: Option<Duration>,
    ) -> Result<Bytes, ClientError> {
        let payload = Payload(payload.into());
        match self.request(Request::Call { target, protocol, payload, timeout_ms: milliseconds(timeout) }).await? {
            Response::Reply { payload } => Ok(payload.0),
            other => Err(unexpected(other)),
        }
    }

    /// The connected peers this plugin may see.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, ClientError> {
        match self.request(Request::Peers).await? {
            Response::Peers(peers) => Ok(peers),
            other => Err(unexpected(other)),
        }
    }

    /// This node.
    pub async fn node(&self) -> Result<NodeInfo, ClientError> {
        match self.request(Request::Node).await? {
            Response::Node(node) => Ok(node),
            other => Err(unexpected(other)),
        }
    }

    /// Turns [`Event::PeerUp`] and [`Event::PeerDown`] on or off.
    pub async fn watch_peers(&self, on: bool) -> Result<(), ClientError> {
        self.done(Request::WatchPeers { on }).await
    }

    /// Reports that the plugin is ready.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.done(Request::Ready).await
    }

    /// Checks that netcore responds.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.done(Request::Ping).await
    }

    async fn done(&self, request: Request) -> Result<(), ClientError> {
        match self.request(request).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a request that has no method of its own here, and waits for the response; `Response::Failed` is an error.
    /// Waits first while the session has as many requests in flight as it may.
    pub async fn request(&self, request: Request) -> Result<Response, ClientError> {
        self.request_of(request, None).await
    }

    /// [`Self::request`] that ends a subscription; it does nothing if another subscription has taken the topic.
    async fn request_of(&self, request: Request, only_of: Option<(Name, u64)>) -> Result<Response, ClientError> {
        let permit = self.shared.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (reply, answer) = oneshot::channel();
        let ticket = self.shared.tickets.fetch_add(1, Ordering::Relaxed);
        self.command(Command::Request { request, only_of, ticket, permit, reply }).await?;
        let mut guard = CancelGuard { commands: Some(&self.commands), ticket };
        let result = answer.await;
        guard.commands = None;
        match result {
            Ok(Ok(Response::Failed(failure))) => Err(ClientError::Refused(failure)),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => {
                Err(self.shared.ended.borrow().clone().map_or(ClientError::Refused(failure), ClientError::Ended))
            }
            Err(_) => Err(ClientError::Ended(self.ended().await)),
        }
    }

    async fn command(&self, command: Command) -> Result<(), ClientError> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ClientError::Ended(self.ended().await)),
        }
    }
}

/// Cancels a request when its caller stops waiting. Best effort: if the queue of commands is full, the request goes on.
struct CancelGuard<'a> {
    commands: Option<&'a mpsc::Sender<Command>>,
    ticket: u64,
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        if let Some(commands) = self.commands {
            let _ = commands.try_send(Command::Cancel { ticket: self.ticket });
        }
    }
}

/// The session's events. At most 512 are queued; further ones are dropped and counted, and streams and calls among them
/// refused.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
    ended: watch::Receiver<Option<Failure>>,
    closed: bool,
}

impl Events {
    /// The next event. [`Event::Dropped`] counts events dropped here as well as in netcore. The last event is
    /// [`Event::Closing`] with the reason, whatever it is; then `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let count = self.dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            return Some(Event::Dropped { count });
        }
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        if self.closed {
            return None;
        }
        let reason = self.ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        self.closed = true;
        Some(Event::Closing(reason.unwrap_or_else(|| ErrorCode::ConnectionLost.into())))
    }
}

/// Reads the answer to an opening, even if writing the opening failed: with too many connections netcore refuses and
/// closes without reading.
async fn first_reply<R: AsyncRead + Unpin>(
    sent: Result<(), TransportError>,
    reader: &mut FrameReader<R>,
) -> Result<&[u8], TransportError> {
    match (reader.next().await, sent) {
        (Ok(Some(body)), _) => Ok(body),
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(None), Ok(())) => Err(TransportError::Cut),
    }
}

fn milliseconds(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1))
}

fn unexpected(response: Response) -> ClientError {
    let text = format!("netcore answered something else than what was asked: {response:?}");
    ClientError::Refused(Failure::new(ErrorCode::Malformed, text))
}

/// An error's text, followed by those of its sources.
fn with_sources(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
