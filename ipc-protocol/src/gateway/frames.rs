//! The frames of a control session.

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::request::Request;
use super::response::Response;
use crate::error::Failure;
use crate::payload::Payload;

/// What a plugin sends on its control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// A request. Exactly one [`ServerFrame::Response`] with this id answers it; the order of responses is free.
    Request {
        /// Chosen by the plugin; not the id of another unanswered request of this session.
        id: u64,
        request: Request,
    },
    /// Cancels a request. It is still answered: with `cancelled`, or with its result if that came first.
    Cancel { id: u64 },
    /// Replies to [`Event::Call`].
    Answer {
        call: u64,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// Declines [`Event::Call`].
    Decline {
        call: u64,
        /// Reaches the caller; Polypeer's own codes become `refused`.
        failure: Failure,
    },
    /// Answers [`Event::Heartbeat`].
    Alive,
}

/// What netcore sends on a control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers the request with this id.
    Response { id: u64, response: Response },
    /// An event.
    Event(Event),
}
