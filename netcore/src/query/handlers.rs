//! Table of handlers: the part of the node that answers each internal protocol. [`crate::services`] fills it; links and
//! query connections use it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};

use super::Queries;
use crate::limits::ANSWER_TIME;
use crate::link::FrameReceiver;

/// A question of a peer.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The peer that asks.
    pub(crate) node: NodeId,
    /// The IP by which to decide what the peer may be told: where its packets come from, or unspecified.
    pub(crate) ip: IpAddr,
    /// The peer's address as a handshake proved it; `None` if its packets come through a relay.
    pub(crate) from: Option<SocketAddr>,
    /// At most 64 KiB.
    pub(crate) payload: Bytes,
}

type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Handler {
    /// Answers one question per stream.
    Question(Box<dyn Fn(Question) -> Answering + Send + Sync>),
    /// Serves a long-lived stream of frames.
    Frames(Box<dyn Fn(FrameReceiver) -> Serving + Send + Sync>),
}

/// The table `protocol → handler`.
pub(crate) struct Handlers {
    queries: Arc<Queries>,
    table: HashMap<&'static str, Handler>,
}

impl Handlers {
    /// An empty table: every question is refused as `unsupported`.
    pub(crate) fn new(queries: Arc<Queries>) -> Self {
        Self { queries, table: HashMap::new() }
    }

    /// Adds `answer` as the handler for questions of `protocol`. Its failure `peer misbehaved` means that the peer
    /// broke a rule.
    pub(crate) fn question<F>(
        mut self,
        protocol: &'static str,
        answer: impl Fn(Question) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<u8>, Failure>> + Send + 'static,
    {
        self.table.insert(protocol, Handler::Question(Box::new(move |question| Box::pin(answer(question)))));
        self
    }

    /// Adds `serve` as the handler for streams of frames of `protocol`.
    pub(crate) fn frames<F>(
        mut self,
        protocol: &'static str,
        serve: impl Fn(FrameReceiver) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.table.insert(protocol, Handler::Frames(Box::new(move |frames| Box::pin(serve(frames)))));
        self
    }

    pub(super) fn queries(&self) -> &Arc<Queries> {
        &self.queries
    }

    /// Whether a stream of `protocol` carries frames rather than one question.
    pub(crate) fn carries_frames(&self, protocol: &Protocol) -> bool {
        matches!(self.table.get(protocol.as_str()), Some(Handler::Frames(_)))
    }

    /// Serves a stream of frames that a peer opened, to its end.
    pub(crate) async fn serve(&self, protocol: &Protocol, frames: FrameReceiver) {
        if let Some(Handler::Frames(serve)) = self.table.get(protocol.as_str()) {
            serve(frames).await;
        }
    }

    /// Answers a question. `peer misbehaved` means that the peer broke a rule and must be disconnected; any other
    /// failure is sent to the peer as a refusal.
    pub(crate) async fn answer(&self, protocol: &Protocol, question: Question) -> Result<Vec<u8>, Failure> {
        let Queries { node, .. } = &*self.queries;
        let peer = question.node;
        if let Err(refused) = self.queries.admission().enter(Instant::now(), peer) {
            node.counters.questions_refused_busy.count();
            return Err(Failure::new(ErrorCode::Busy, refused.to_string()));
        }
        let _admitted = Admitted(&self.queries, peer);
        let Some(Handler::Question(answer)) = self.table.get(protocol.as_str()) else {
            return Err(Failure::new(ErrorCode::Unsupported, format!("this node answers no {protocol}")));
        };
        let answered = tokio::time::timeout(ANSWER_TIME, answer(question)).await;
        answered.unwrap_or_else(|_| {
            node.counters.questions_late.count();
            Err(Failure::new(ErrorCode::TimedOut, format!("no answer within {} s", ANSWER_TIME.as_secs())))
        })
    }
}

/// An admitted question; dropped once it is answered or given up.
struct Admitted<'a>(&'a Queries, NodeId);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.admission().leave(&self.1);
    }
}
