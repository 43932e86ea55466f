//! Netcore's end of a connection to the gateway: the opening; then, on a control session, requests and events.
//!
//! ```text
//! new ──Hello──► greeting ──welcome()──► running ──Cancel, Request… ──► running ──close(), broken frame──► ended
//!  ├──Open, Accept, AcceptNext──► opening a stream ──opened()──► data frames (crate::session::data)
//!  └──broken frame──► ended
//! ```
//!
//! Some requests are answered here: a request of a later version with `unsupported`, one with a name, protocol or
//! ticket that breaks its rule with `bad argument`, one over the limit of 256 in flight with `busy`, a payload over its
//! limit with `too large`. Whatever else breaks the specification ends the session with `malformed`.

use std::collections::HashSet;

use serde::Serialize;

use super::decode::{self, Undecodable};
use crate::codec::CodecError;
use crate::error::{ErrorCode, Failure};
use crate::frame;
use crate::gateway::{ClientFrame, Event, Opening, OpeningReply, Origin, Request, Response, ServerFrame, Welcome};
use crate::ids::Protocol;
use crate::limits::{MAX_OPENING, MAX_REQUESTS, VERSION};

/// What a plugin sent, checked against the rules of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// The first frame. A `Hello` offers [`VERSION`]; answer it with [`ServerSession::welcome`], the others with
    /// [`ServerSession::opened`], or any with [`ServerSession::refuse`]. The token or secret is the caller's to check.
    Opening(Opening),
    /// A frame of a running session. A request's id is not in use; answer it with [`ServerSession::respond`]. A
    /// `Cancel` names a request in flight. An `Answer` has at most 64 KiB: a larger one becomes a `Decline` with `too
    /// large`. Failures carry codes that the other side may see. Calls may be unknown or no longer pending.
    Frame(ClientFrame),
    /// The plugin broke the specification: the reason has been appended to `out`; close after sending it.
    Ended(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Greeting,
    OpeningStream,
    Running,
    Stream,
    Ended,
}

/// Netcore's end of a connection. Everything to be sent is appended to `out`.
#[derive(Debug)]
pub struct ServerSession {
    state: State,
    in_flight: HashSet<u64>,
    unsupported: u64,
}

impl Default for ServerSession {
    fn default() -> Self {
        Self { state: State::New, in_flight: HashSet::new(), unsupported: 0 }
    }
}

impl ServerSession {
    // Getters.

    /// Requests in flight, at most 256.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Requests of later versions answered with `unsupported`.
    pub fn unsupported(&self) -> u64 {
        self.unsupported
    }

    /// Whether data frames follow.
    pub fn is_stream(&self) -> bool {
        self.state == State::Stream
    }

    // Bytes in.

    /// Takes frames off the front of `input` until one is an event. `None`: more bytes are needed after those left in
    /// `input`, or the caller has to answer the opening first.
    pub fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<ServerEvent> {
        while matches!(self.state, State::New | State::Running) {
            let body = match frame::split(input) {
                Ok(Some(body)) => body,
                Ok(None) if self.state == State::New && announced(input) > MAX_OPENING => {
                    let text = format!("first frame of {} bytes; the limit is {MAX_OPENING}", announced(input));
                    return Some(self.end(Failure::new(ErrorCode::Malformed, text), out));
                }
                Ok(None) => return None,
                Err(error) => return Some(self.end(Failure::new(ErrorCode::Malformed, error.to_string()), out)),
            };
            *input = &input[frame::HEADER + body.len()..];
            if let Some(event) = self.handle_frame(body, out) {
                return Some(event);
            }
        }
        None
    }

    /// Handles one frame's body. `None`: it was answered here. A frame sent before the opening is answered breaks the
    /// specification, since the plugin cannot know yet what to send.
    pub fn handle_frame(&mut self, body: &[u8], out: &mut Vec<u8>) -> Option<ServerEvent> {
        match self.state {
            State::New => Some(self.handle_opening(body, out)),
            State::Running => self.handle_running(body, out),
            State::Greeting | State::OpeningStream | State::Stream => {
                let text = "a frame was sent before the first one was answered";
                Some(self.end(Failure::new(ErrorCode::Malformed, text), out))
            }
            State::Ended => None,
        }
    }

    fn handle_opening(&mut self, body: &[u8], out: &mut Vec<u8>) -> ServerEvent {
        match decode::opening(body) {
            Ok(Opening::Hello { versions, .. }) if !versions.contains(&VERSION) => {
                let text =
                    format!("the plugin speaks versions {versions:?} of the gateway protocol, this netcore {VERSION}");
                self.end(Failure::new(ErrorCode::UnsupportedVersion, text), out)
            }
            Ok(opening) => {
                self.state = match opening {
                    Opening::Hello { .. } => State::Greeting,
                    Opening::Open { .. } | Opening::Accept { .. } | Opening::AcceptNext { .. } => State::OpeningStream,
                };
                ServerEvent::Opening(opening)
            }
            Err(Undecodable::Malformed(CodecError::BadText { reason })) => {
                self.end(Failure::new(ErrorCode::BadArgument, reason), out)
            }
            Err(error) => self.end(error.into(), out),
        }
    }

    fn handle_running(&mut self, body: &[u8], out: &mut Vec<u8>) -> Option<ServerEvent> {
        match decode::client_frame(body) {
            Ok(ClientFrame::Request { id, request }) => self.handle_request(id, request, out),
            Ok(ClientFrame::Cancel { id }) if !self.in_flight.contains(&id) => None,
            Ok(ClientFrame::Answer { call, payload }) if !decode::payload_fits(&payload.0) => {
                let failure = Failure::new(ErrorCode::TooLarge, "the answer is over 64 KiB: use a stream");
                Some(ServerEvent::Frame(ClientFrame::Decline { call, failure }))
            }
            Ok(ClientFrame::Decline { call, failure }) => {
                Some(ServerEvent::Frame(ClientFrame::Decline { call, failure: failure.from_plugin() }))
            }
            Ok(frame @ (ClientFrame::Cancel { .. } | ClientFrame::Answer { .. } | ClientFrame::Alive)) => {
                Some(ServerEvent::Frame(frame))
            }
            Err(Undecodable::UnknownRequest { id, .. } | Undecodable::BadArgument { id, .. })
                if self.in_flight.contains(&id) =>
            {
                Some(self.id_in_use(id, out))
            }
            Err(Undecodable::UnknownRequest { id, tag }) => {
                self.unsupported += 1;
                let text = format!("this netcore knows no request of kind {tag}");
                self.fail(id, Failure::new(ErrorCode::Unsupported, text), out);
                None
            }
            Err(error @ Undecodable::BadArgument { id, .. }) => {
                self.fail(id, error.into(), out);
                None
            }
            Err(error) => Some(self.end(error.into(), out)),
        }
    }

    fn handle_request(&mut self, id: u64, request: Request, out: &mut Vec<u8>) -> Option<ServerEvent> {
        if self.in_flight.contains(&id) {
            return Some(self.id_in_use(id, out));
        }
        if self.in_flight.len() >= MAX_REQUESTS {
            self.fail(id, Failure::new(ErrorCode::Busy, format!("{MAX_REQUESTS} requests are in flight already")), out);
            return None;
        }
        if let Some(text) = decode::too_large(&request) {
            self.fail(id, Failure::new(ErrorCode::TooLarge, text), out);
            return None;
        }
        self.in_flight.insert(id);
        let request = match request {
            Request::RefuseStream { stream, failure } => {
                Request::RefuseStream { stream, failure: failure.from_plugin() }
            }
            other => other,
        };
        Some(ServerEvent::Frame(ClientFrame::Request { id, request }))
    }

    fn id_in_use(&mut self, id: u64, out: &mut Vec<u8>) -> ServerEvent {
        let text = format!("request id {id} is used by a request without an answer");
        self.end(Failure::new(ErrorCode::Malformed, text), out)
    }

    fn fail(&self, id: u64, failure: Failure, out: &mut Vec<u8>) {
        let response = ServerFrame::Response { id, response: Response::Failed(failure.cut()) };
        frame::write(&response, out).expect("a failure is small");
    }

    fn end(&mut self, failure: Failure, out: &mut Vec<u8>) -> ServerEvent {
        self.close(failure.clone(), out);
        ServerEvent::Ended(failure)
    }

    // Commands.

    /// Answers `Hello`: the session runs.
    pub fn welcome(&mut self, welcome: Welcome, out: &mut Vec<u8>) -> Result<(), CodecError> {
        debug_assert_eq!(self.state, State::Greeting, "welcome answers Hello");
        frame::write(&OpeningReply::Welcome(welcome), out)?;
        self.state = State::Running;
        Ok(())
    }

    /// Answers `Open`, `Accept` and `AcceptNext`: data frames follow.
    pub fn opened(&mut self, origin: Origin, protocol: Protocol, out: &mut Vec<u8>) {
        debug_assert_eq!(self.state, State::OpeningStream, "opened answers Open, Accept and AcceptNext");
        frame::write(&OpeningReply::Opened { origin, protocol }, out).expect("names are small");
        self.state = State::Stream;
    }

    /// Refuses any opening. The caller sends `out` and closes the connection.
    pub fn refuse(&mut self, failure: Failure, out: &mut Vec<u8>) {
        self.close(failure, out);
    }

    /// Answers a request. False, and nothing is sent, if no request with this id is pending. Fails if the response is
    /// over the frame limit; the request is then still pending.
    pub fn respond(&mut self, id: u64, response: Response, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        if self.state != State::Running || !self.in_flight.contains(&id) {
            return Ok(false);
        }
        self.send(&ServerFrame::Response { id, response }, out)?;
        Ok(self.in_flight.remove(&id))
    }

    /// Sends an event; does nothing unless the session runs.
    pub fn event(&mut self, event: Event, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.state == State::Running { self.send(&ServerFrame::Event(event), out) } else { Ok(()) }
    }

    /// Ends the session with a reason, as `Closing` or as `Refused`. Sends nothing once data frames flow: a stream ends
    /// with `RESET` and `STOP` instead.
    pub fn close(&mut self, failure: Failure, out: &mut Vec<u8>) {
        let failure = failure.cut();
        let written = match self.state {
            State::Ended | State::Stream => Ok(()),
            State::Running => self.send(&ServerFrame::Event(Event::Closing(failure)), out),
            State::New | State::Greeting | State::OpeningStream => self.send(&OpeningReply::Refused(failure), out),
        };
        written.expect("a failure is small");
        self.in_flight.clear();
        self.state = State::Ended;
    }

    fn send<T: Serialize>(&self, message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        frame::write(message, out)
    }
}

/// The length in the header at the front of `input`; 0 while the header is incomplete.
fn announced(input: &[u8]) -> usize {
    input.first_chunk().map_or(0, |header| u32::from_le_bytes(*header) as usize)
}
