//! Questions between netcores, answered by netcore itself and not by a plugin: the DHT's, peer exchange, probes.
//!
//! ```text
//! dht::driver, discovery, reach ──ask──► link, if one stands ──────────► the peer's netcore
//!                                └─────► outbound, a query connection ──┘
//! peers (a query connection came) ──► inbound ─┐
//! link (an internal stream came) ──────────────┴─► handlers ──► admission ──► the handler of its protocol
//! ```
//!
//! [`crate::services`] says which part of the node handles which protocol.

mod handlers;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod pool;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use polypeer_engine::query::admission::Admission;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use tokio::sync::Notify;

use crate::link::{Links, PeerLink};
use crate::node::Node;
use crate::wire::{Broken, Halves, StreamHeader, StreamKind};
pub(crate) use handlers::{Handlers, Question};
use inbound::Inbound;
use pool::Pool;

/// Questions of one node: those it asks, and limits of those it answers.
#[derive(Debug)]
pub struct Queries {
    node: Arc<Node>,
    links: Arc<Links>,
    admission: Mutex<Admission>,
    pool: Mutex<Pool<quinn::Connection, outbound::Waiter>>,
    /// Signalled when a dial adds to the pool.
    dialing: Notify,
    inbound: Mutex<Inbound>,
}

impl Queries {
    /// No questions and no query connections.
    pub(crate) fn new(node: Arc<Node>, links: Arc<Links>) -> Self {
        let (admission, pool, inbound) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { node, links, admission, pool, dialing: Notify::new(), inbound }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool<quinn::Connection, outbound::Waiter>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of query connections: those that this node has dialed or is dialing, and those that others have made.
    pub fn connections(&self) -> (usize, usize) {
        (self.pool().len(), self.inbound().len())
    }
}

/// The reply to a question.
#[derive(Debug)]
pub(crate) struct Reply {
    /// At most 64 KiB.
    pub(crate) bytes: Bytes,
    /// The IP that the answering node proved; `None` if its packets came through a relay.
    pub(crate) from: Option<IpAddr>,
}

/// Why a question has no answer. The caller judges the node that was asked by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The question was not sent: a limit of this node, or no network.
    NotTried(Failure),
    /// No connection, a lost connection, or no answer in time.
    Unreachable(Failure),
    /// The peer refused, with a reason.
    Refused(Failure),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotTried(failure) | Unanswered::Unreachable(failure) | Unanswered::Refused(failure) => failure,
        }
    }
}

impl Queries {
    /// Asks `to` on the link with it, if one stands, or on a query connection to `addresses`. The reply has at most 64
    /// KiB.
    ///
    /// Fails with the codes of dialing, with the code of the peer's refusal, or with `timed out` at `deadline`.
    pub async fn ask(
        self: &Arc<Self>,
        to: NodeId,
        addresses: &[SocketAddr],
        protocol: &Protocol,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<Bytes, Failure> {
        let replied = self.question(to, addresses, protocol, payload, deadline).await;
        replied.map(|reply| reply.bytes).map_err(Unanswered::into)
    }

    /// As [`Self::ask`]; also returns where the answer came from, or why there is none.
    pub(crate) async fn question(
        self: &Arc<Self>,
        to: NodeId,
        addresses: &[SocketAddr],
        protocol: &Protocol,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let asked = async {
            match self.ready_link(&to).await {
                Some(link) => self.on_link(&link, addresses, protocol, &payload).await,
                None => outbound::ask(self, to, addresses, protocol, &payload).await,
            }
        };
        in_time(to, protocol, deadline, asked).await
    }

    /// As [`Self::question`], but only on a link; fails if none stands.
    pub(crate) async fn question_on_link(
        self: &Arc<Self>,
        to: NodeId,
        protocol: &Protocol,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<Bytes, Unanswered> {
        let asked = async {
            let gone = || Failure::new(ErrorCode::ConnectionLost, format!("{to} is not connected"));
            let link = self.ready_link(&to).await.ok_or_else(|| Unanswered::Unreachable(gone()))?;
            self.on_link(&link, &[], protocol, &payload).await.map(|reply| reply.bytes)
        };
        in_time(to, protocol, deadline, asked).await
    }

    /// The link with a peer, once the peer's `Hello` has arrived.
    async fn ready_link(&self, peer: &NodeId) -> Option<Arc<PeerLink>> {
        let link = self.links.standing(peer)?;
        link.ready().await.ok()?;
        Some(link)
    }

    /// Asks on a link. If the peer refuses that with `refused`, asks on a query connection: the peer does so when this
    /// node has moved since the link's handshake, because it probes only an address that a handshake has proved.
    async fn on_link(
        self: &Arc<Self>,
        link: &PeerLink,
        addresses: &[SocketAddr],
        protocol: &Protocol,
        payload: &[u8],
    ) -> Result<Reply, Unanswered> {
        match ask_on(&link.connection, protocol, payload).await {
            Ok(Err(refused)) if refused.is(ErrorCode::Refused) => {
                outbound::ask(self, link.peer, addresses, protocol, payload).await
            }
            Ok(answered) => {
                let from = link.proved_ip();
                answered.map(|bytes| Reply { bytes, from }).map_err(Unanswered::Refused)
            }
            Err(broken) => Err(Unanswered::Unreachable(link.failure(&self.node, broken))),
        }
    }
}

async fn in_time<T>(
    to: NodeId,
    protocol: &Protocol,
    deadline: Instant,
    asked: impl Future<Output = Result<T, Unanswered>>,
) -> Result<T, Unanswered> {
    let late = || Failure::new(ErrorCode::TimedOut, format!("{to} did not answer {protocol} in time"));
    tokio::time::timeout_at(deadline.into(), asked).await.unwrap_or_else(|_| Err(Unanswered::Unreachable(late())))
}

/// Asks on a connection. Returns the reply, or the peer's refusal.
async fn ask_on(
    connection: &quinn::Connection,
    protocol: &Protocol,
    payload: &[u8],
) -> Result<Result<Bytes, Failure>, Broken> {
    let header = StreamHeader { kind: StreamKind::Internal, protocol: protocol.clone() };
    let (send, recv) = connection.open_bi().await.map_err(|_| Broken::Lost)?;
    let mut halves = Halves::new(send, recv);
    halves.send_call(&header, payload).await?;
    if let Some(refusal) = halves.read_status().await? {
        return Ok(Err(refusal));
    }
    halves.read_all(MAX_PAYLOAD).await.map(Ok)
}
