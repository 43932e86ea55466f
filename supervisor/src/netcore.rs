//! The supervisor's end of the admin session. A [`Link`] lives as long as one netcore process; the supervisor's task
//! owns it, and anybody may ask through a clone of its handle. What netcore says by itself goes to the supervisor's
//! task as events.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminCommand, AdminEvent, AdminFrame, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::transport::TransportError;
use polypeer_ipc_protocol::transport::admin::{AdminChannel, AdminEnd, AdminReceiver, AdminSender, Handover};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// Requests on their way or unanswered; the next is answered `busy`.
const MAX_PENDING: usize = 256;
/// How long netcore may take to answer, beyond a time that is part of the request.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The state of the network core's process, as `polypeer status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetcoreStatus {
    /// Its process, while it runs.
    pub pid: Option<i32>,
    /// `starting`, `ready`, `backoff`, …: the words of plugins' states.
    pub state: String,
    /// How often it was started again.
    pub restarts: u32,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// How it ended last.
    pub exit_reason: Option<String>,
}

/// What happens on a session.
#[derive(Debug)]
pub enum NetEvent {
    /// Netcore said something by itself.
    Said(AdminEvent),
    /// It answered [`AdminRequest::Start`].
    Started(Result<(), Failure>),
    /// The addresses it listens on, `IP:PORT`.
    Listens(Vec<String>),
    /// The session is over.
    Gone,
    /// The session has been over for some time, and the process may still be there.
    Stuck,
}

struct Ask {
    request: AdminRequest,
    attached: Option<Handover>,
    reply: oneshot::Sender<AdminResponse>,
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<AdminResponse>>>>;

/// A handle to one admin session.
#[derive(Debug, Clone)]
pub struct Link {
    asks: mpsc::Sender<Ask>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.request.fmt(f)
    }
}

impl Link {
    /// A new session: the handle, and the end that netcore inherits. `events` gets what netcore
    /// says by itself, with `session` to tell one session from the next.
    ///
    /// # Errors
    /// When no socket pair, or pipe, can be made.
    pub fn start(session: u64, events: mpsc::Sender<(u64, NetEvent)>) -> io::Result<(Self, AdminEnd)> {
        let (channel, theirs) = AdminChannel::pair()?;
        let (sender, receiver) = channel.split();
        let (asks, waiting) = mpsc::channel(MAX_PENDING);
        let pending = Pending::default();
        let writer = tokio::spawn(write(sender, waiting, Arc::clone(&pending)));
        tokio::spawn(async move {
            Box::pin(read(session, receiver, &pending, &events)).await;
            writer.abort();
            pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let _ = events.send((session, NetEvent::Gone)).await;
        });
        Ok((Self { asks }, theirs))
    }

    /// Hands a request in without waiting. The answer comes through the receiver, which fails when the session ends.
    ///
    /// # Errors
    /// `busy` when too many wait, `connection lost` when the session is over.
    pub fn post(
        &self,
        request: AdminRequest,
        attached: Option<Handover>,
    ) -> Result<oneshot::Receiver<AdminResponse>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { request, attached, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => lost(),
        })?;
        Ok(answer)
    }

    /// Asks and waits for the answer, as long as the request itself says and [`ANSWER_TIME`] more.
    ///
    /// # Errors
    /// What netcore answered; `timed out`, `busy`, or `connection lost`.
    pub async fn ask(&self, request: AdminRequest) -> Result<AdminResponse, Failure> {
        let limit = time_of(&request) + ANSWER_TIME;
        let answer = self.post(request, None)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(AdminResponse::Failed(failure))) => Err(failure),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_dropped)) => Err(lost()),
            Err(_elapsed) => Err(Failure::new(
                ErrorCode::TimedOut,
                format!("the network core did not answer in {} s", limit.as_secs()),
            )),
        }
    }
}

fn busy() -> Failure {
    Failure::new(ErrorCode::Busy, format!("{MAX_PENDING} requests to the network core are pending; try again"))
}

fn lost() -> Failure {
    Failure::new(ErrorCode::ConnectionLost, "the network core ended; it is being restarted, try again")
}

fn time_of(request: &AdminRequest) -> Duration {
    match request {
        AdminRequest::AddPeer { timeout_ms, .. } | AdminRequest::Ping { timeout_ms, .. } => {
            Duration::from_millis((*timeout_ms).into())
        }
        AdminRequest::Shutdown { grace_ms } => Duration::from_millis((*grace_ms).into()),
        _ => Duration::ZERO,
    }
}

async fn write(mut sender: AdminSender, mut asks: mpsc::Receiver<Ask>, pending: Pending) {
    let mut id = 0;
    while let Some(ask) = asks.recv().await {
        id += 1;
        {
            let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            // Those who gave up waiting make room.
            pending.retain(|_, reply| !reply.is_closed());
            if pending.len() >= MAX_PENDING {
                let _ = ask.reply.send(AdminResponse::Failed(busy()));
                continue;
            }
            pending.insert(id, ask.reply);
        }
        let command = AdminCommand { id, request: ask.request };
        if let Err(error) = sender.send(&command, ask.attached.as_ref()).await {
            // The reader meets the end of the session and tells everybody.
            tracing::debug!("failed to write to the admin session: {error}");
            return;
        }
    }
}

async fn read(session: u64, mut receiver: AdminReceiver, pending: &Pending, events: &mpsc::Sender<(u64, NetEvent)>) {
    loop {
        match Box::pin(receiver.recv::<AdminFrame>()).await {
            Ok(Some((AdminFrame::Response { id, response }, _))) => {
                let reply = pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                match reply {
                    Some(reply) => drop(reply.send(response)),
                    None => tracing::debug!(id, "dropped a response of the network core that nothing waits for"),
                }
            }
            Ok(Some((AdminFrame::Event(event), _))) => {
                if events.send((session, NetEvent::Said(event))).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            // What a process leaves that ends or is killed; how it ended is told by who watches it.
            Err(error @ (TransportError::Io(_) | TransportError::Cut)) => {
                return tracing::debug!("the admin session was cut: {error}");
            }
            Err(error) => return tracing::warn!("the admin session failed: {error}"),
        }
    }
}
