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
    /// Asks for something; answered by exactly one [`ServerFrame::Response`] with this id, in any order.
    Request {
        /// Chosen by the plugin; not in use by another request of this session that is unanswered.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// Gives up on a request. It is still answered: with `cancelled`, or with its result if that was first.
    Cancel {
        /// Of the request.
        id: u64,
    },
    /// Answers [`Event::Call`].
    Answer {
        /// Of the call.
        call: u64,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// Declines [`Event::Call`].
    Decline {
        /// Of the call.
        call: u64,
        /// What the caller sees; codes of Polypeer's own become `refused`.
        failure: Failure,
    },
}

/// What netcore sends on a control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers a request.
    Response {
        /// Of the request.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Tells something nobody asked for.
    Event(Event),
}
