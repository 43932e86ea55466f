//! Questions between netcores, answered by the netcore itself and not by a plugin: the DHT's, peer exchange, probes.
//!
//! ```text
//! dht::driver, discovery, reach ──ask──► link, if one stands ──────────► the peer's netcore
//!                                └─────► outbound, a query connection ──┘
//! peers (a query connection came) ──► inbound ─┐
//! link::incoming ──serve──► admission ──► dht::driver, discovery::exchange, reach
//!       └─────────serve_frames──────────► gossip::driver
//! ```

mod admission;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod pool;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;

use crate::discovery;
use crate::gossip;
use crate::limits::ANSWER_TIME;
use crate::link::{FrameReceiver, Link};
use crate::node::Node;
use crate::reach;
use crate::wire::{Broken, Halves, StreamHeader, StreamKind};
use admission::Admission;
use inbound::Inbound;
use pool::Pool;

pub use crate::dht::Asker;

/// The distributed hash table.
pub const KAD: &str = "kad/1";
/// Address records of others.
pub const EXCHANGE: &str = "exchange/1";
/// Whether an address can be dialed.
pub const PROBE: &str = "probe/1";
/// Publish and subscribe; streams of frames.
pub const GOSSIP: &str = "gossip/1";

/// The state of questions; see the module.
#[derive(Debug, Default)]
pub struct Queries {
    admission: Mutex<Admission>,
    pool: Mutex<Pool<quinn::Connection, outbound::Waiter>>,
    inbound: Mutex<Inbound>,
}

impl Queries {
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

/// Asks `to` on the link with it, if one stands, or on a query connection to `addresses`. The reply has at most 64 KiB.
///
/// Fails with the codes of dialing, as the peer refuses, or with `timed out` at `deadline`.
pub async fn ask(
    node: &Arc<Node>,
    to: NodeId,
    addresses: &[SocketAddr],
    protocol: &Protocol,
    payload: Vec<u8>,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    let replied = question(node, to, addresses, protocol, payload, deadline).await;
    replied.map(|reply| reply.bytes).map_err(Unanswered::into)
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

/// As [`ask`], telling also where the answer came from, or why there is none.
pub(crate) async fn question(
    node: &Arc<Node>,
    to: NodeId,
    addresses: &[SocketAddr],
    protocol: &Protocol,
    payload: Vec<u8>,
    deadline: Instant,
) -> Result<Reply, Unanswered> {
    let asked = async {
        match ready_link(node, &to).await {
            Some(link) => on_link(node, &link, addresses, protocol, &payload).await,
            None => outbound::ask(node, to, addresses, protocol, &payload).await,
        }
    };
    in_time(to, protocol, deadline, asked).await
}

/// As [`question`], only while a link with `to` stands.
pub(crate) async fn question_on_link(
    node: &Arc<Node>,
    to: NodeId,
    protocol: &Protocol,
    payload: Vec<u8>,
    deadline: Instant,
) -> Result<Bytes, Unanswered> {
    let asked = async {
        let gone = || Failure::new(ErrorCode::ConnectionLost, format!("{to} is not connected"));
        let link = ready_link(node, &to).await.ok_or_else(|| Unanswered::Unreachable(gone()))?;
        on_link(node, &link, &[], protocol, &payload).await.map(|reply| reply.bytes)
    };
    in_time(to, protocol, deadline, asked).await
}

/// The link with a peer, once its first frames have come.
async fn ready_link(node: &Node, peer: &NodeId) -> Option<Arc<Link>> {
    let link = node.links.standing(peer)?;
    link.ready().await.ok()?;
    Some(link)
}

/// Asks on a link; on a query connection after all where the peer refuses to go by the link: this node has moved on it,
/// and is dialed back only where a handshake has shown it to be.
async fn on_link(
    node: &Arc<Node>,
    link: &Link,
    addresses: &[SocketAddr],
    protocol: &Protocol,
    payload: &[u8],
) -> Result<Reply, Unanswered> {
    match ask_on(&link.connection, protocol, payload).await {
        Ok(Err(refused)) if refused.is(ErrorCode::Refused) => {
            outbound::ask(node, link.peer, addresses, protocol, payload).await
        }
        Ok(answered) => {
            let from = link.proved_ip();
            answered.map(|bytes| Reply { bytes, from }).map_err(Unanswered::Refused)
        }
        Err(broken) => Err(Unanswered::Unreachable(link.failure(node, broken))),
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

/// A question that was let in.
struct Admitted<'a>(&'a Queries, NodeId);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.admission().leave(&self.1);
    }
}

/// Answers a question of a peer's, whose packets come from `from` unless they come through others. `peer misbehaved` means that it broke a rule and must be cut off; any other failure
/// is told to it.
pub(crate) async fn serve(
    node: &Arc<Node>,
    asker: &Asker,
    from: Option<SocketAddr>,
    protocol: &Protocol,
    payload: Bytes,
) -> Result<Vec<u8>, Failure> {
    let queries = &node.services().queries;
    if let Err(refused) = queries.admission().enter(Instant::now(), asker.node) {
        node.counters.questions_refused_busy.count();
        return Err(Failure::new(ErrorCode::Busy, refused.to_string()));
    }
    let _admitted = Admitted(queries, asker.node);
    let answered = tokio::time::timeout(ANSWER_TIME, answer(node, asker, from, protocol, payload)).await;
    answered.unwrap_or_else(|_| {
        node.counters.questions_late.count();
        Err(Failure::new(ErrorCode::TimedOut, format!("no answer within {} s", ANSWER_TIME.as_secs())))
    })
}

async fn answer(
    node: &Arc<Node>,
    asker: &Asker,
    from: Option<SocketAddr>,
    protocol: &Protocol,
    payload: Bytes,
) -> Result<Vec<u8>, Failure> {
    match protocol.as_str() {
        KAD => node.services().dht.answer(*asker, &payload).await,
        PROBE => reach::prober::answer(node, asker.node, from, &payload).await,
        EXCHANGE => discovery::answer(node, asker.node, asker.ip, &payload).await,
        _ => Err(unsupported(protocol)),
    }
}

fn unsupported(protocol: &Protocol) -> Failure {
    Failure::new(ErrorCode::Unsupported, format!("this node answers no {protocol}"))
}

/// Whether a stream of `protocol` carries frames rather than one question.
pub(crate) fn is_of_frames(protocol: &Protocol) -> bool {
    protocol.as_str() == GOSSIP
}

/// Serves a stream of frames that a peer opened, to its end.
pub(crate) async fn serve_frames(node: Arc<Node>, _protocol: Protocol, frames: FrameReceiver) {
    gossip::driver::serve(node, frames).await;
}
