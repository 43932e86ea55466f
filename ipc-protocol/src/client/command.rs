//! Commands of the handles to the driver, and what it returns.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::Failure;
use crate::gateway::{Payload, Request, Response};
use crate::ids::{Hash, Name, NodeId};

/// The response to a request, or why there is none.
pub(super) type Reply = Result<Response, Failure>;

/// A command to the driver.
#[derive(Debug)]
pub(super) enum Command {
    Request {
        request: Request,
        /// Send the request only if the topic's messages go to this route, else answer `Done`.
        only_of: Option<(Name, u64)>,
        /// Identifies the request in `Cancel` before its id is known.
        ticket: u64,
        /// One of the session's requests in flight; released with the response.
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
    /// Send a topic's messages to this route.
    Subscribed {
        topic: Name,
        route: Route,
    },
    /// End the route, and unsubscribe unless a newer subscription has taken the topic.
    Unsubscribed {
        topic: Name,
        number: u64,
    },
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identifies the message; the same on all nodes.
    pub id: Hash,
    /// The publisher, verified by the message's signature.
    pub author: NodeId,
    pub payload: Bytes,
}

/// The queue of a topic's messages.
#[derive(Debug)]
pub(super) struct Route {
    /// Identifies the subscription, since a newer one may take the topic.
    pub(super) number: u64,
    pub(super) messages: mpsc::Sender<Message>,
}
