//! What can happen in the world, and what is on its way.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{CallFailed, CallId, Key, QueryId, Request, Response};
use polypeer_engine::gossip::Frame;
use polypeer_engine::peers::book::Source;
use polypeer_engine::peers::manager::Ending;
use polypeer_ipc_protocol::ids::NodeId;

use crate::index::NodeIndex;
use crate::queue::Micros;

/// What happens at a moment.
pub(crate) enum Event {
    /// A node's timer.
    Wake(NodeIndex),
    /// A node starts, or replaces another.
    Start,
    /// A node leaves.
    Leave(NodeIndex),
    /// A peer has dialed a node back.
    Confirmed(NodeIndex),
    /// A question arrives.
    Request(Box<Asked>),
    /// An answer arrives, or the time for it is over.
    Answer(Box<Answered>),
    /// A link stands.
    LinkUp { dialer: NodeIndex, acceptor: NodeIndex, source: Source },
    /// A dial for a link failed.
    LinkFailed { dialer: NodeIndex, id: NodeId },
    /// An end of a link notices that it is gone.
    LinkDown { node: NodeIndex, peer: NodeIndex, ending: Ending },
    /// A reply of peer exchange arrives.
    Exchanged { to: NodeIndex, from: NodeIndex, reply: Vec<u8> },
    /// A peer's own records arrive on a link.
    Own { to: NodeIndex, from: NodeIndex, records: Vec<Arc<AddressRecord>> },
    /// A gossip frame arrives.
    Frame { to: NodeIndex, from: NodeIndex, frame: Box<Frame> },
    /// An attacker starts.
    Attacker { id: Option<NodeId>, address: Option<SocketAddr> },
    /// The scenario does something.
    Task(Task),
}

impl Event {
    /// Its kind, as figures count it.
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

/// What scenarios plan ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// A lookup of a random node by another.
    Locate,
    /// A lookup of a node on the other side of a former cut.
    Across,
    /// A record is put.
    Put,
    /// A record is put whose key is near a place.
    PutNear(Key),
    /// A record that was put is looked up.
    Get,
    /// A node provides something.
    Provide,
    /// Providers of what is provided are looked up.
    Providers,
    /// A message is published.
    Publish,
    /// A victim is looked up.
    Victim,
    /// An attacker puts records.
    Spam(NodeIndex),
    /// The deadline of a message.
    Judge(usize),
}

/// A question on its way.
pub(crate) struct Asked {
    pub(crate) from: NodeIndex,
    pub(crate) to: NodeIndex,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    /// When the asker gives up.
    pub(crate) deadline: Micros,
    pub(crate) request: Request,
}

/// An answer on its way.
pub(crate) struct Answered {
    pub(crate) to: NodeIndex,
    pub(crate) from: Option<NodeIndex>,
    pub(crate) call: CallId,
    pub(crate) query: Option<QueryId>,
    pub(crate) depth: u32,
    pub(crate) answer: Result<Response, CallFailed>,
}
