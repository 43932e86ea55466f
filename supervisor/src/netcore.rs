//! The supervisor's end of the admin session with one netcore process. [`AdminHandle`] sends requests; events from
//! netcore go to the supervisor's task ([`crate::supervise`]), which creates the session.

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

/// Most pending requests; further ones fail with `busy`.
const MAX_PENDING: usize = 256;
/// Timeout of a request, in addition to a time that the request itself names.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// State of the network core's process, for `polypeer status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetcoreStatus {
    /// Pid, while it runs.
    pub pid: Option<i32>,
    /// A state as of a plugin: `starting`, `ready`, `backoff`, …
    pub state: String,
    pub restarts: u32,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// How its last run ended.
    pub exit_reason: Option<String>,
}

/// Events of an admin session.
#[derive(Debug)]
pub enum NetEvent {
    /// An event from netcore.
    Said(AdminEvent),
    /// It answered [`AdminRequest::Start`].
    Started(Result<(), Failure>),
    /// It answered [`AdminRequest::Heartbeat`].
    Alive,
    /// Netcore listens on these addresses, `IP:PORT`.
    Listens(Vec<String>),
    /// The session has ended.
    Gone,
    /// The session ended some time ago; the process may still exist.
    Stuck,
}

struct Ask {
    request: AdminRequest,
    attached: Option<Handover>,
    reply: oneshot::Sender<AdminResponse>,
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<AdminResponse>>>>;

/// A handle to one admin session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminHandle {
    asks: mpsc::Sender<Ask>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.request.fmt(f)
    }
}

impl AdminHandle {
    /// Starts a session. Returns the handle and the end that netcore inherits. `events` receives netcore's events, each
    /// with the number `session`.
    ///
    /// # Errors
    /// When no socket pair, or pipe, can be created.
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

    /// Sends a request without waiting. The receiver gets the response, and fails when the session ends.
    ///
    /// # Errors
    /// `busy` when too many requests are pending, `connection lost` when the session has ended.
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

    /// Sends a request and waits for the response. The timeout is [`ANSWER_TIME`] beyond the time that the request
    /// names.
    ///
    /// # Errors
    /// What netcore answered, `busy`, or `connection lost`, also when it does not answer in time: `timed out` is about
    /// peers.
    pub async fn ask(&self, request: AdminRequest) -> Result<AdminResponse, Failure> {
        let limit = time_of(&request) + ANSWER_TIME;
        let answer = self.post(request, None)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(AdminResponse::Failed(failure))) => Err(failure),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_dropped)) => Err(lost()),
            Err(_elapsed) => Err(Failure::new(
                ErrorCode::ConnectionLost,
                format!("the network core did not answer in {} s; `polypeer doctor` says more", limit.as_secs()),
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
            // Cancelled requests are no longer pending.
            pending.retain(|_, reply| !reply.is_closed());
            if pending.len() >= MAX_PENDING {
                let _ = ask.reply.send(AdminResponse::Failed(busy()));
                continue;
            }
            pending.insert(id, ask.reply);
        }
        let command = AdminCommand { id, request: ask.request };
        if let Err(error) = sender.send(&command, ask.attached.as_ref()).await {
            // The reader notices the end of the session and reports it.
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
            // The process ended or was killed; its watcher reports how.
            Err(error @ (TransportError::Io(_) | TransportError::Cut)) => {
                return tracing::debug!("the admin session was cut: {error}");
            }
            Err(error) => return tracing::warn!("the admin session failed: {error}"),
        }
    }
}
