//! A plugin's end of a control session: `Hello`, then requests with ids, their responses, and events.
//!
//! ```text
//! new ──Hello──► greeting ──Welcome──► running ──Closing, or a broken frame──► ended
//!                   └──────Refused, or a broken frame──────────────────────────►┘
//! ```

use std::collections::HashSet;

use serde::Serialize;

use super::decode::{self, Undecodable};
use crate::error::{ErrorCode, Failure};
use crate::frame;
use crate::gateway::{ClientFrame, Event, Opening, OpeningReply, Payload, Request, Response, ServerFrame, Welcome};
use crate::ids::Secret;
use crate::limits::{MAX_PAYLOAD, MAX_REQUESTS, VERSION};

/// What netcore sent, checked against the rules of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The session is open: the first event, once.
    Welcome(Welcome),
    /// The response to a request, whose id is free again.
    Response {
        id: u64,
        /// `Failed(unsupported)` for a kind of response that this version does not know.
        response: Response,
    },
    /// An event other than `Closing`, which becomes [`Self::Ended`].
    Event(Event),
    /// The session ended, for this reason: the last event. Pending requests have failed with it.
    Ended(Failure),
}

/// The error of sending a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("the session is not running")]
    NotRunning,
    #[error("{MAX_REQUESTS} requests are in flight already")]
    TooMany,
    /// The payload is over its limit, or the message over a frame's.
    #[error("message is too large")]
    TooLarge,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Running,
    Ended,
}

/// A plugin's end of a control session. Commands append frames to `out`.
#[derive(Debug)]
pub struct ClientSession {
    state: State,
    next_id: u64,
    in_flight: HashSet<u64>,
    skipped: u64,
}

impl ClientSession {
    /// Starts a session: appends its `Hello` to `out`.
    pub fn new(token: Secret, out: &mut Vec<u8>) -> Self {
        frame::write(&Opening::Hello { versions: vec![VERSION], token }, out).expect("a Hello is small");
        Self { state: State::Greeting, next_id: 1, in_flight: HashSet::new(), skipped: 0 }
    }

    // Getters.

    /// Requests in flight, at most 256.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Skipped events of later versions.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    // Bytes in.

    /// Takes frames off the front of `input` until one is an event. `None`: more bytes are needed after those left in
    /// `input`.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<ClientEvent> {
        while self.state != State::Ended {
            let body = match frame::split(input) {
                Ok(Some(body)) => body,
                Ok(None) => return None,
                Err(error) => return Some(self.end(Failure::new(ErrorCode::Malformed, error.to_string()))),
            };
            *input = &input[frame::HEADER + body.len()..];
            if let Some(event) = self.handle_frame(body) {
                return Some(event);
            }
        }
        *input = &[];
        None
    }

    /// Handles one frame's body. `None`: it was skipped.
    pub fn handle_frame(&mut self, body: &[u8]) -> Option<ClientEvent> {
        match self.state {
            State::Ended => None,
            State::Greeting => Some(match decode::opening_reply(body) {
                Ok(OpeningReply::Welcome(welcome)) if welcome.version == VERSION => {
                    self.state = State::Running;
                    ClientEvent::Welcome(welcome)
                }
                Ok(OpeningReply::Welcome(welcome)) => {
                    let text = format!("netcore chose version {}, which was not offered", welcome.version);
                    self.end(Failure::new(ErrorCode::UnsupportedVersion, text))
                }
                Ok(OpeningReply::Refused(failure)) => self.end(failure),
                Ok(OpeningReply::Opened { .. }) => {
                    self.end(Failure::new(ErrorCode::Malformed, "a control session was answered with a stream"))
                }
                Err(error) => self.end(error.into()),
            }),
            State::Running => self.handle_running(body),
        }
    }

    fn handle_running(&mut self, body: &[u8]) -> Option<ClientEvent> {
        match decode::server_frame(body) {
            Ok(ServerFrame::Response { id, response }) => Some(self.handle_response(id, response)),
            Ok(ServerFrame::Event(Event::Closing(failure))) => Some(self.end(failure)),
            Ok(ServerFrame::Event(event)) => Some(ClientEvent::Event(event)),
            Err(Undecodable::UnknownEvent { .. }) => {
                self.skipped += 1;
                None
            }
            Err(Undecodable::UnknownResponse { id, tag }) => {
                let text = format!("netcore gave an answer of kind {tag}, which this version does not know");
                Some(self.handle_response(id, Response::Failed(Failure::new(ErrorCode::Unsupported, text))))
            }
            Err(error) => Some(self.end(error.into())),
        }
    }

    fn handle_response(&mut self, id: u64, response: Response) -> ClientEvent {
        if self.in_flight.remove(&id) {
            ClientEvent::Response { id, response }
        } else {
            self.end(Failure::new(ErrorCode::Malformed, format!("netcore answered request {id}, which was not asked")))
        }
    }

    fn end(&mut self, failure: Failure) -> ClientEvent {
        self.state = State::Ended;
        self.in_flight.clear();
        ClientEvent::Ended(failure)
    }

    // Commands.

    /// Sends a request and returns its id.
    pub fn request(&mut self, request: Request, out: &mut Vec<u8>) -> Result<u64, CommandError> {
        if self.in_flight.len() >= MAX_REQUESTS {
            return Err(CommandError::TooMany);
        }
        if decode::too_large(&request).is_some() {
            return Err(CommandError::TooLarge);
        }
        let id = self.next_id;
        self.send(&ClientFrame::Request { id, request }, out)?;
        self.next_id += 1;
        self.in_flight.insert(id);
        Ok(id)
    }

    /// Cancels a request, which is still answered. Sends nothing if it has been answered already.
    pub fn cancel(&mut self, id: u64, out: &mut Vec<u8>) -> Result<(), CommandError> {
        if self.in_flight.contains(&id) { self.send(&ClientFrame::Cancel { id }, out) } else { Ok(()) }
    }

    /// Replies to a call. Of a reply over 64 KiB a byte too many is sent: netcore tells the caller `too large`.
    pub fn answer(&mut self, call: u64, mut payload: Payload, out: &mut Vec<u8>) -> Result<(), CommandError> {
        payload.0.truncate(MAX_PAYLOAD + 1);
        self.send(&ClientFrame::Answer { call, payload }, out)
    }

    pub fn decline(&mut self, call: u64, failure: Failure, out: &mut Vec<u8>) -> Result<(), CommandError> {
        self.send(&ClientFrame::Decline { call, failure }, out)
    }

    /// Answers [`Event::Heartbeat`](crate::gateway::Event::Heartbeat), from the plugin's event loop.
    ///
    /// # Errors
    /// When the session is not running.
    pub fn alive(&mut self, out: &mut Vec<u8>) -> Result<(), CommandError> {
        self.send(&ClientFrame::Alive, out)
    }

    fn send<T: Serialize>(&self, message: &T, out: &mut Vec<u8>) -> Result<(), CommandError> {
        if self.state != State::Running {
            return Err(CommandError::NotRunning);
        }
        frame::write(message, out).map_err(|_| CommandError::TooLarge)
    }
}
