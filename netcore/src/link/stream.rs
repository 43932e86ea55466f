//! A stream on a link, with its credit.

use std::sync::Arc;

use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{RecvStream, SendStream, VarInt};

use super::PeerLink;
use super::credit::Credit;
use crate::node::Node;
use crate::peers::Keep;
use crate::wire::{Broken, Early, Halves};

/// A stream between two netcores.
#[derive(Debug)]
pub(crate) struct PeerStream {
    pub(crate) link: Arc<PeerLink>,
    pub(crate) id: u64,
    pub(crate) halves: Halves,
    pub(crate) credit: Arc<Credit>,
    /// Bytes of the plugin sent so far, before the peer has accepted the stream.
    pub(crate) sent: u64,
    /// What the peer has sent before this side has accepted the stream.
    pub(crate) early: Early,
    /// Keeps the connection open for a plugin of this node.
    pub(crate) kept: Option<Keep>,
}

impl PeerStream {
    pub(super) fn new(link: Arc<PeerLink>, send: SendStream, recv: RecvStream) -> Self {
        let id = VarInt::from(send.id()).into_inner();
        let credit = link.register(id);
        let early = Early::default();
        Self { link, id, halves: Halves::new(send, recv), credit, sent: 0, early, kept: None }
    }

    pub(crate) fn peer(&self) -> NodeId {
        self.link.peer
    }

    /// Ends a stream that failed; disconnects the peer if that broke a rule.
    pub(crate) fn gone(&self, node: &Node, broken: Broken) {
        if let Broken::Rule(reason) = broken {
            self.link.misbehaved(node, &reason);
        }
    }

    /// Waits for the peer's answer to a stream that this node opened. Fails with the code of the peer's refusal.
    pub(super) async fn status(&mut self, node: &Node) -> Result<(), Failure> {
        match self.halves.read_status().await {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(refusal),
            Err(broken) => Err(self.link.failure(node, broken)),
        }
    }
}

impl Drop for PeerStream {
    fn drop(&mut self) {
        self.link.unregister(self.id);
    }
}

impl PeerLink {
    /// The failure to report for a stream that failed; disconnects the peer if that broke a rule.
    pub(crate) fn failure(&self, node: &Node, broken: Broken) -> Failure {
        match broken {
            Broken::Lost => self.why_closed(),
            Broken::Gone(code) => Failure { code, message: format!("the peer said: {}", describe(code)) },
            Broken::Rule(reason) => {
                self.misbehaved(node, &reason);
                Failure::new(ErrorCode::PeerMisbehaved, reason)
            }
        }
    }
}
