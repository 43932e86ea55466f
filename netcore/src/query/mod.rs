//! Questions between netcores, answered by the netcore itself and not by a plugin: the DHT's, peer exchange, probes.
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
    inbound: Mutex<Inbound>,
}

impl Queries {
    /// No questions so far.
    pub(crate) fn new(node: Arc<Node>, links: Arc<Links>) -> Self {
        let (admission, pool, inbound) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { node, links, admission, pool, inbound }
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

    /// Query connections that stand or are being made: this node's, and those of others.
    pub fn connections(&self) -> (usize, usize) {
        (self.pool().len(), self.inbound().len())
    }
}

/// What a question brought.
#[derive(Debug)]
pub(crate) struct Reply {
    /// It; at most 64 KiB.
    pub(crate) bytes: Bytes,
    /// Where its packets came from, as the connection proved; none if they came through others.
    pub(crate) from: Option<IpAddr>,
}

/// Why there is no answer, for those who judge the node that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nothing was tried: limits of this node, or no network.
    NotTried(Failure),
    /// No connection, none that lasted, or no answer in time.
    Unreachable(Failure),
    /// The peer said why not.
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
    /// Asks `to` on the link with it, if one stands, or on a query connection to `addresses`. The reply has at most 64 KiB.
    ///
    /// Fails with the codes of dialing, as the peer refuses, or with `timed out` at `deadline`.
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

    /// As [`Self::ask`], telling also where the answer came from, or why there is none.
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

    /// As [`Self::question`], only while a link with `to` stands.
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

    /// The link with a peer, once its first frames have come.
    async fn ready_link(&self, peer: &NodeId) -> Option<Arc<PeerLink>> {
        let link = self.links.standing(peer)?;
        link.ready().await.ok()?;
        Some(link)
    }

    /// Asks on a link; on a query connection after all where the peer refuses to go by the link: this node has moved on it,
    /// and is dialed back only where a handshake has shown it to be.
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

/// Asks on a connection: the reply, or the peer's refusal.
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
