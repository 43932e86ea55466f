//! Outgoing questions on query connections: dials, shares and closes the connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::plan::{Plan, Step};
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use quinn::{Connection, VarInt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::pool::Wanted;
use super::{Queries, Reply, Unanswered, ask_on};
use crate::limits::QUERY_CONNECTIONS_OUT;
use crate::node::Node;
use crate::wire::{Broken, why_closed};

/// Timeout for dialing: enough for a handshake with two lost packets, at two addresses in turn.
const DIAL: Duration = Duration::from_secs(4);
/// Interval between searches for connections to close.
const SWEEP: Duration = Duration::from_secs(1);

/// Receives the result of a dial: the connection and its number, or why there is none.
pub(super) type Waiter = oneshot::Sender<Result<(u64, Connection), Unanswered>>;

/// Closes unused and old connections, until it is dropped.
pub(crate) async fn sweep(queries: Arc<Queries>) {
    loop {
        queries.dialing.notified().await;
        while queries.pool().len() > 0 {
            sleep(SWEEP).await;
            for connection in queries.pool().expired(Instant::now()) {
                close(&connection);
            }
        }
    }
}

/// Asks `to` at `addresses`. A connection that turns out to be closed is replaced once, because the peer closes unused
/// ones, too.
pub(super) async fn ask(
    queries: &Arc<Queries>,
    to: NodeId,
    addresses: &[SocketAddr],
    protocol: &Protocol,
    payload: &[u8],
) -> Result<Reply, Unanswered> {
    let mut retried = false;
    loop {
        let (taken, fresh) = take(queries, to, addresses).await?;
        let asked = ask_on(&taken.connection, protocol, payload).await;
        let broken = match asked {
            Ok(answered) => {
                let from = Some(taken.connection.remote_address().ip().to_canonical());
                taken.release(true);
                return answered.map(|bytes| Reply { bytes, from }).map_err(Unanswered::Refused);
            }
            Err(broken) => broken,
        };
        let failure = match broken {
            Broken::Lost => why_closed(&taken.connection),
            Broken::Gone(code) => Failure { code, message: format!("the peer said: {}", describe(code)) },
            Broken::Rule(reason) => {
                misbehaved(&queries.node, to, &taken.connection, &reason);
                Failure::new(ErrorCode::PeerMisbehaved, reason)
            }
        };
        let lost = failure.is(ErrorCode::ConnectionLost);
        taken.release(false);
        if fresh || !lost || std::mem::replace(&mut retried, true) {
            return Err(Unanswered::Unreachable(failure));
        }
    }
}

/// Counts a breach of the protocol on a query connection and closes the connection.
pub(super) fn misbehaved(node: &Node, peer: NodeId, connection: &Connection, reason: &str) {
    node.counters.peers_misbehaved.count();
    tracing::warn!(%peer, reason, "the peer broke the protocol; closing the query connection");
    if let Ok(peers) = node.peers() {
        peers.misbehaved_at(peer, connection.remote_address(), reason);
    }
    connection.close(VarInt::from_u32(ErrorCode::PeerMisbehaved.number()), reason.as_bytes());
}

/// A connection in use for one question.
struct Taken {
    queries: Arc<Queries>,
    to: NodeId,
    number: u64,
    connection: Connection,
    released: bool,
}

impl Taken {
    fn new(queries: &Arc<Queries>, to: NodeId, number: u64, connection: Connection) -> Self {
        Self { queries: Arc::clone(queries), to, number, connection, released: false }
    }

    fn release(mut self, works: bool) {
        self.released = true;
        self.give_back(works);
    }

    fn give_back(&self, works: bool) {
        let works = works && self.connection.close_reason().is_none();
        let closed = self.queries.pool().release(Instant::now(), self.to, self.number, works);
        if let Some(connection) = closed {
            close(&connection);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // The caller cancelled while it waited for the answer. The connection still works.
        if !self.released {
            self.give_back(true);
        }
    }
}

fn close(connection: &Connection) {
    connection.close(VarInt::from_u32(ErrorCode::Complete.number()), b"no more questions");
}

/// A connection with `to`, and whether it is new.
async fn take(queries: &Arc<Queries>, to: NodeId, addresses: &[SocketAddr]) -> Result<(Taken, bool), Unanswered> {
    let (waiter, told) = oneshot::channel();
    let wanted = queries.pool().want(Instant::now(), to, waiter);
    match wanted {
        Wanted::Use(number, connection) => return Ok((Taken::new(queries, to, number, connection), false)),
        Wanted::Full => {
            queries.node.counters.query_connections_short.count();
            let text = format!("{QUERY_CONNECTIONS_OUT} query connections are in use; try again in a moment");
            return Err(Unanswered::NotTried(Failure::new(ErrorCode::Busy, text)));
        }
        Wanted::Waiting => {}
        Wanted::Dial(closed) => {
            if let Some(connection) = closed {
                queries.node.counters.query_connections_made_room.count();
                close(&connection);
            }
            queries.dialing.notify_one();
            // In a task of its own, because others may still wait for it when this caller has cancelled. It ends within
            // `DIAL`.
            tokio::spawn(dial(Arc::clone(queries), to, addresses.to_vec()));
        }
    }
    let gone = || Unanswered::NotTried(ErrorCode::ShuttingDown.into());
    let waiting = Waiting { queries: Arc::clone(queries), to, told };
    let (number, connection) = waiting.await.unwrap_or_else(|| Err(gone()))?;
    Ok((Taken::new(queries, to, number, connection), true))
}

/// Waits for a dial. If this is dropped with an unread result, it releases the connection.
struct Waiting {
    queries: Arc<Queries>,
    to: NodeId,
    told: oneshot::Receiver<Result<(u64, Connection), Unanswered>>,
}

impl Future for Waiting {
    type Output = Option<Result<(u64, Connection), Unanswered>>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.told).poll(cx).map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Once it is closed nothing more is sent to it, so a result is here now or never.
        self.told.close();
        if let Ok(Ok((number, _))) = self.told.try_recv() {
            self.queries.pool().release(Instant::now(), self.to, number, true);
        }
    }
}

async fn dial(queries: Arc<Queries>, to: NodeId, addresses: Vec<SocketAddr>) {
    let late = || Failure::new(ErrorCode::Unreachable, format!("{to}: no answer"));
    let dialed = tokio::time::timeout(DIAL, attempt_all(&queries.node, to, &addresses)).await;
    let dialed = dialed.unwrap_or_else(|_| Err(late())).map_err(Unanswered::Unreachable);
    if dialed.is_ok() {
        queries.node.counters.query_connections_dialed.count();
    }
    let (number, waiters) = queries.pool().dialed(Instant::now(), to, dialed.as_ref().ok().cloned());
    for waiter in waiters {
        if waiter.send(dialed.clone().map(|connection| (number, connection))).is_err() {
            // The waiter has cancelled: its use of the connection is released.
            queries.pool().release(Instant::now(), to, number, true);
        }
    }
}

/// Dials the addresses in turn: the next one when the present one takes long or fails.
async fn attempt_all(node: &Arc<Node>, to: NodeId, addresses: &[SocketAddr]) -> Result<Connection, Failure> {
    let peers = node.peers()?;
    if to == node.id {
        return Err(Failure::new(ErrorCode::BadArgument, "that is this node's own id"));
    }
    node.check_running()?;
    peers.check(&to)?;
    let reachable: Vec<SocketAddr> =
        addresses.iter().copied().filter(|address| peers.transport().reaches(*address)).collect();
    if reachable.is_empty() {
        let text = format!("{to}: no address of it that a socket of this node can send to");
        return Err(Failure::new(ErrorCode::UnknownPeer, text));
    }
    let mut plan = Plan::new(Instant::now(), &reachable);
    let mut running: JoinSet<Result<Connection, DialError>> = JoinSet::new();
    let mut latest = DialError::NoAnswer;
    loop {
        let wake = match plan.poll(Instant::now()) {
            Step::Start(address) => {
                let node = Arc::clone(node);
                running.spawn(async move {
                    let peers = node.peers().map_err(|_| DialError::Stopping)?;
                    peers.transport().dial_query(address, to).await
                });
                continue;
            }
            Step::Wait(at) => at,
            Step::Idle => Instant::now() + DIAL,
            Step::Exhausted => return Err(Failure::new(ErrorCode::Unreachable, format!("{to}: {latest}"))),
        };
        tokio::select! {
            Some(Ok(answer)) = running.join_next() => match answer {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    latest = error;
                    plan.ended(Instant::now());
                }
            },
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}
