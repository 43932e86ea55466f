//! Streams and calls between plugins, from end to end. Those that a plugin opens come from the gateway
//! ([`StreamOpener`]); those that a peer opens come from its link. Both ends are plugins, of this node or of a peer.
//!
//! ```text
//! crate::gateway ── a plugin opens ──► open, call ──┬─► deliver, to a plugin of this node ──► splice (data connection
//!                                                   │                                          to data connection)
//!                                                   └─► crate::link, to a peer ─────────────┬► pump (data connection
//! crate::link ──── a peer opens ─────► incoming ──────► deliver, to a plugin of this node ──┘   to QUIC stream)
//! ```
//!
//! When a stream is over for the other side, `rest` ends the data connection.

mod call;
mod call_over_stream;
mod deliver;
mod incoming;
mod open;
mod pump;
mod rest;
mod splice;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Payload, Target};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};

use crate::gateway::launch::{ActiveUse, Launch};
use crate::gateway::opening::Opening;
use crate::gateway::{Hub, StreamOpener};
use crate::link::{InUse, PeerStream};
use crate::plugins::grants::Use;

/// Opens and serves the streams and calls of one node.
#[derive(Debug)]
pub(crate) struct Streams {
    hub: Arc<Hub>,
}

impl Streams {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Serves a stream that a peer opened, until it ends.
    pub(crate) async fn serve(&self, stream: PeerStream, protocol: Protocol, in_use: InUse) {
        Box::pin(incoming::serve_stream(Arc::clone(&self.hub), stream, protocol, in_use)).await;
    }

    /// Answers a call that a peer made.
    pub(crate) async fn answer(&self, stream: PeerStream, protocol: Protocol, payload: Payload, in_use: InUse) {
        Box::pin(incoming::serve_call(Arc::clone(&self.hub), stream, protocol, payload, in_use)).await;
    }
}

impl StreamOpener for Streams {
    fn open(
        &self,
        launch: Arc<Launch>,
        opening: Opening,
        target: Target,
        protocol: Protocol,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(open::open(Arc::clone(&self.hub), launch, opening, target, protocol, timeout))
    }

    fn call(
        &self,
        launch: Arc<Launch>,
        target: Target,
        protocol: Protocol,
        payload: Payload,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send>> {
        let hub = Arc::clone(&self.hub);
        Box::pin(async move { call::call(&hub, &launch, target, protocol, payload, timeout).await })
    }
}

/// A stream that the serving plugin has claimed.
#[derive(Debug)]
struct Claimed {
    /// The data connection that claims the stream; its opening is not answered yet.
    opening: Box<Opening>,
    /// The use of the serving plugin.
    active: ActiveUse,
}

/// The state of one direction of a stream, as netcore has passed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Bytes may follow.
    Open,
    /// Ended, reset or stopped.
    Over,
}

/// The destination of a stream or call.
#[derive(Debug)]
enum Destination {
    Local,
    Peer(NodeId, Vec<SocketAddr>),
}

impl Destination {
    /// The destination that `target` names. Fails with `bad argument` if that is the node itself (`own`).
    fn of(own: NodeId, target: Target) -> Result<Self, Failure> {
        let (peer, hints) = match target {
            Target::Local => return Ok(Self::Local),
            Target::Node(peer) => (peer, Vec::new()),
            Target::Ticket(ticket) => (ticket.node, ticket.addresses),
        };
        if peer == own {
            let text = "this is the id of the own node: its plugins are reached with the target `local`";
            return Err(Failure::new(ErrorCode::BadArgument, text));
        }
        Ok(Self::Peer(peer, hints))
    }

    /// The use that a plugin's grants must cover to open something there.
    fn used(&self, protocol: &Protocol) -> Use {
        match self {
            Self::Local => Use::DialLocal(protocol.clone()),
            Self::Peer(peer, _) => Use::Dial(*peer, protocol.clone()),
        }
    }
}

/// The failure when the timeout given by a plugin is over.
fn timed_out(after: Duration) -> Failure {
    Failure::new(ErrorCode::TimedOut, format!("no answer within {} s", after.as_secs_f32()))
}
