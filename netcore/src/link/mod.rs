//! Links to peers: the control stream of each, and the streams, calls and datagrams of plugins on it. [`crate::peers`]
//! makes a connection and hands it over to this module; `PROTOCOL.md` specifies what travels on it.
//!
//! ```text
//! peers ──Established──► Links ──► PeerLink ──► control (Hello, Serving, Credit, Ping, Record)
//!                                   ├─────► datagram ─┐
//!                                   ├─────► incoming ─┴──► LinkHandler (crate::core): streams, query, gateway, services
//! streams, query, gossip ──► outgoing, frames ┘
//! ```
//!
//! Bytes are read and written by [`crate::wire`].

mod control;
pub mod credit;
pub mod datagram;
mod frames;
mod handler;
mod incoming;
mod links;
mod outgoing;
mod place;
mod records;
mod stream;
mod streams;
mod windows;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::rate::Bucket;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::PeerInfo;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use quinn::VarInt;
use tokio::sync::{Notify, oneshot, watch};

pub(crate) use frames::FrameReceiver;
pub(crate) use handler::{Answering, LinkHandler, Serving};
pub use links::Links;
pub(crate) use stream::PeerStream;
pub(crate) use streams::InUse;

use crate::counters::Counter;
use crate::limits::{LINK_EARLY, LINK_PAYLOADS, STREAMS_FOR_NOTHING, STREAMS_REFUSED};
use crate::node::Node;
use crate::peers::Established;
use crate::transport::PathHandle;
use crate::wire::{self, Payloads, why_closed};
use credit::Credit;
use records::Records;
use windows::{Budgets, Windows};

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The peer's `Hello` has not arrived yet.
    New,
    /// Streams may be opened.
    Ready,
    /// The connection is closed.
    Over,
}

/// A link: the connection to one peer, and its state.
#[derive(Debug)]
pub struct PeerLink {
    pub peer: NodeId,
    pub(crate) connection: quinn::Connection,
    path: PathHandle,
    since: Instant,
    stage: watch::Sender<Stage>,
    /// Why this side closed the connection.
    closed_for: OnceLock<Failure>,
    state: Mutex<State>,
    /// Signalled when the control stream has something to send.
    to_send: Notify,
    /// Number of the peer's streams in use: their header has arrived; for a call or question, its payload, too.
    in_use: AtomicUsize,
    /// Number of those streams that carry frames.
    frames: AtomicUsize,
    /// Streams of the peer whose header or payload did not arrive in time.
    late: Counter,
    /// QUIC's windows beyond the share that every link has.
    pub(crate) windows: Windows,
    /// Incomplete payloads from the peer.
    payloads: Payloads,
    /// What the peer has sent on streams that are not accepted yet.
    early: Payloads,
    /// Two token buckets for streams that the peer opens. A useful stream gives its token back to the first bucket.
    /// When the first is empty, streams are refused; when the second is empty, too, the peer is disconnected.
    for_nothing: Mutex<(Bucket, Bucket)>,
    /// The peer's IP in the handshake, which proved it. QUIC follows the peer to another address before that one is
    /// proved.
    proved: IpAddr,
    /// Payload bytes sent to the peer, and received from it.
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
}

#[derive(Debug, Default)]
struct State {
    /// Of the peer, from its `Hello`.
    version: u32,
    serving: Vec<Protocol>,
    /// Credit for sending on each stream, by QUIC stream id.
    streams: HashMap<u64, Arc<Credit>>,
    /// Credit not yet sent to the peer: the newest limit of each stream, by QUIC stream id.
    credits: HashMap<u64, u64>,
    /// Waiters for pending pings, by nonce.
    pings: HashMap<u64, oneshot::Sender<()>>,
    /// Nonce of the newest ping requested, and of the newest one sent.
    last_ping: u64,
    pinged: u64,
    /// Nonce of the peer's ping that is not answered yet.
    pong: Option<u64>,
    /// The peer's signed address records.
    records: Records,
    /// Concurrent streams that the peer has been allowed so far.
    allowed_streams: usize,
}

impl PeerLink {
    fn new(established: Established, budgets: &Arc<Budgets>) -> Self {
        let Established { node: peer, connection, path, proved, .. } = established;
        Self {
            peer,
            connection,
            path,
            since: Instant::now(),
            stage: watch::Sender::new(Stage::New),
            closed_for: OnceLock::new(),
            state: Mutex::default(),
            to_send: Notify::new(),
            in_use: AtomicUsize::new(0),
            frames: AtomicUsize::new(0),
            late: Counter::default(),
            windows: Windows::new(Arc::clone(budgets)),
            payloads: Payloads::new(Arc::clone(&budgets.payloads), LINK_PAYLOADS),
            early: Payloads::new(Arc::clone(&budgets.early), LINK_EARLY),
            for_nothing: Mutex::new((Bucket::new(STREAMS_FOR_NOTHING), Bucket::new(STREAMS_REFUSED))),
            proved: proved.ip().to_canonical(),
            sent: Counter::default(),
            received: Counter::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether the peer takes the first bytes of a stream before it has accepted it.
    pub(crate) fn takes_early_bytes(&self) -> bool {
        self.state().version >= wire::EARLY_BYTES
    }

    /// Room for what the peer sends on streams that are not accepted yet.
    pub(crate) fn early(&self) -> &Payloads {
        &self.early
    }

    /// Waits until streams may be opened. Fails with the reason when the connection is closed instead.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        let mut stage = self.stage.subscribe();
        tokio::select! {
            biased;
            stage = stage.wait_for(|stage| *stage != Stage::New) => match stage.map(|stage| *stage) {
                Ok(Stage::Ready) => Ok(()),
                _ => Err(self.why_closed()),
            },
            _ = self.connection.closed() => Err(self.why_closed()),
        }
    }

    /// The reason why the connection is closed.
    pub(crate) fn why_closed(&self) -> Failure {
        self.closed_for.get().cloned().unwrap_or_else(|| why_closed(&self.connection))
    }

    /// Counts a breach of the protocol and disconnects the peer.
    pub(crate) fn misbehaved(&self, node: &Node, reason: &str) {
        if self.connection.close_reason().is_some() {
            return;
        }
        node.counters.peers_misbehaved.count();
        tracing::warn!(peer = %self.peer, reason, "the peer broke the protocol; closing the connection");
        if let Ok(peers) = node.peers() {
            peers.misbehaved(self.peer, reason);
        }
        self.close(ErrorCode::PeerMisbehaved, reason);
    }

    /// Disconnects a peer that sent no `Hello` in time, with the code for a breach. One such timeout does not ban the
    /// peer.
    fn silent(&self, node: &Node) {
        if self.connection.close_reason().is_some() {
            return;
        }
        node.counters.peers_misbehaved.count();
        if let Ok(peers) = node.peers() {
            peers.score(self.peer, ScoreEvent::Timeout);
        }
        self.close(ErrorCode::PeerMisbehaved, "no Hello in time");
    }

    /// Closes the connection with a code.
    pub(crate) fn close(&self, code: ErrorCode, reason: &str) {
        let _ = self.closed_for.set(Failure::new(code, reason));
        self.connection.close(VarInt::from_u32(code.number()), reason.as_bytes());
    }

    /// The peer as plugins see it.
    pub(crate) fn info(&self) -> PeerInfo {
        PeerInfo {
            node: self.peer,
            path: self.path.route().kind(),
            rtt_us: self.connection.rtt().as_micros() as u64,
            connected_ms: self.since.elapsed().as_millis() as u64,
            protocols: self.state().serving.clone(),
        }
    }

    /// Measures a round trip between the two netcores.
    pub(crate) async fn ping(&self) -> Result<Duration, Failure> {
        self.ready().await?;
        let started = Instant::now();
        let (answered, answer) = oneshot::channel();
        {
            let mut state = self.state();
            state.last_ping += 1;
            let nonce = state.last_ping;
            state.pings.retain(|_, waiting| !waiting.is_closed());
            state.pings.insert(nonce, answered);
        }
        self.to_send.notify_one();
        tokio::select! {
            Ok(()) = answer => Ok(started.elapsed()),
            _ = self.connection.closed() => Err(self.why_closed()),
        }
    }
}

/// Serves a link until its connection is closed.
async fn run(links: Arc<Links>, handler: Arc<dyn LinkHandler>, link: Arc<PeerLink>) {
    let control = tokio::spawn(control::run(Arc::clone(&links), Arc::clone(&handler), Arc::clone(&link)));
    let datagrams = tokio::spawn(datagram::run(Arc::clone(&links.node), Arc::clone(&handler), Arc::clone(&link)));
    let mut streams = incoming::run(&links.node, &handler, &link).await;
    let _ = datagrams.await; // it ends with the connection, as the streams do
    control.abort();
    let _ = control.await; // it may be reporting the peer as up; `peer_down` must follow that
    link.stage.send_replace(Stage::Over);
    if links.remove(&link) {
        handler.peer_down(&link);
    }
    while streams.join_next().await.is_some() {}
}
