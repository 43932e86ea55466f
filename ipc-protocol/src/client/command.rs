//! What the handles send to the driver, and what it sends back.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::Failure;
use crate::gateway::{Payload, Request, Response};
use crate::ids::{Hash, Name, NodeId};

/// A reply, or why there will be none.
pub(super) type Reply = Result<Response, Failure>;

/// What the handles ask of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Request {
        request: Request,
        /// Only sent while the topic's messages go to that route; else done already.
        only_of: Option<(Name, u64)>,
        /// Names the request in `Cancel`, before its id is known.
        ticket: u64,
        /// One of the session's requests in flight; given back when the answer is here.
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Reply>,
    },
    Cancel {
        ticket: u64,
    },
    Answer {
        call: u64,
        payload: Payload,
    },
    Decline {
        call: u64,
        failure: Failure,
    },
    /// The messages of a topic go there from now on.
    Subscribed {
        topic: Name,
        route: Route,
    },
    /// They do not any more, and the topic is given up if no newer subscription took it.
    Unsubscribed {
        topic: Name,
        number: u64,
    },
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name, the same on all nodes.
    pub id: Hash,
    /// Who published it; its signature is right.
    pub author: NodeId,
    /// What.
    pub payload: Bytes,
}

/// Where the driver puts the messages of a topic.
#[derive(Debug)]
pub(super) struct Route {
    /// Which subscription it is of, when a newer one has taken the topic.
    pub(super) number: u64,
    pub(super) messages: mpsc::Sender<Message>,
}
