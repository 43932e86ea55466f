//! Events of the world, and messages in flight.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{CallFailed, CallId, Key, QueryId, Request, Response};
use polypeer_engine::gossip::Frame;
use polypeer_engine::peers::manager::Ending;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use crate::index::NodeIndex;
use crate::queue::Micros;

/// Something that happens at a point of virtual time.
pub(crate) enum Event {
    /// A node's timer fires.
    Wake(NodeIndex),
    /// A node starts, or replaces another.
    Start,
    /// A node leaves, and another starts.
    Leave(NodeIndex),
    /// A peer has dialed a node back.
    Confirmed(NodeIndex),
    /// A DHT request arrives.
    Request(Box<Asked>),
    /// A DHT response arrives, or its request has failed.
    Answer(Box<Answered>),
    /// A handshake for a link is complete.
    LinkUp { dialer: NodeIndex, acceptor: NodeIndex, source: Source },
    /// A dial for a link failed.
    LinkFailed { dialer: NodeIndex, id: NodeId },
    /// One end of a link notices that it is lost.
    LinkDown { node: NodeIndex, peer: NodeIndex, ending: Ending },
    /// The reply to a peer exchange arrives.
    Exchanged { to: NodeIndex, from: NodeIndex, reply: Vec<u8> },
    /// A peer's own records arrive on a link.
    Own { to: NodeIndex, from: NodeIndex, records: Vec<Arc<AddressRecord>> },
    /// A gossip frame arrives.
    Frame { to: NodeIndex, from: NodeIndex, frame: Box<Frame> },
    /// An attacker starts, with this id and address if given.
    Attacker { id: Option<NodeId>, address: Option<SocketAddr> },
    /// A planned operation of the scenario starts.
    Task(Task),
}

impl Event {
    /// Its kind in the figures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Wake(_) => "wake",
            Self::Start | Self::Attacker { .. } | Self::Leave(_) | Self::Confirmed(_) => "life",
            Self::Request(_) => "request",
            Self::Answer(_) => "answer",
            Self::LinkUp { .. } => "link_up",
            Self::LinkFailed { .. } => "link_failed",
            Self::LinkDown { .. } => "link_down",
            Self::Exchanged { .. } | Self::Own { .. } => "records",
            Self::Frame { .. } => "frame",
            Self::Task(_) => "task",
        }
    }
}

/// An operation that a scenario plans.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// A random node looks up another.
    Locate,
    /// A node looks up one on the other side of a former partition.
    Across,
    /// A node stores a record.
    Put,
    /// A node stores a record whose key is near this one.
    PutNear(Key),
    /// A node looks up a stored record.
    Get,
    /// A node becomes a provider of a name.
    Provide,
    /// A node looks up the providers of a name.
    Providers,
    /// A subscriber publishes a message.
    Publish,
    /// A node looks up a victim.
    Victim,
    /// An attacker stores a record.
    Spam(NodeIndex),
    /// Deliveries of a message are counted at its deadline.
    Judge(usize),
}

/// A DHT request in flight.
pub(crate) struct Asked {
    pub(crate) from: NodeIndex,
    pub(crate) to: NodeIndex,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    /// When the requester's timeout ends.
    pub(crate) deadline: Micros,
    pub(crate) request: Request,
}

/// A DHT response in flight, or the failure of a request.
pub(crate) struct Answered {
    pub(crate) to: NodeIndex,
    pub(crate) from: Option<NodeIndex>,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    pub(crate) answer: Result<Response, CallFailed>,
}
