//! The task that owns a control session's connection: commands in from the handles, responses and events out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::command::{Command, Message, Reply, Route};
use crate::error::{ErrorCode, Failure};
use crate::gateway::{Event, Request, Response};
use crate::ids::Name;
use crate::session::client::{ClientEvent, ClientSession};
use crate::transport::{FrameReader, FrameWriter, ReadHalf, TransportError, WriteHalf};

#[derive(Debug)]
pub(super) struct Driver {
    pub(super) session: ClientSession,
    pub(super) reader: FrameReader<ReadHalf>,
    pub(super) writer: FrameWriter<WriteHalf>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) dropped: Arc<AtomicU64>,
    pub(super) ended: watch::Sender<Option<Failure>>,
    pub(super) waiting: HashMap<u64, Waiting>,
    /// As many as netcore allows subscriptions of a session, and those it is about to refuse.
    pub(super) routes: HashMap<Name, Route>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    ticket: u64,
    reply: oneshot::Sender<Reply>,
    /// Released with the response.
    _permit: OwnedSemaphorePermit,
}

impl Driver {
    /// Runs until the session ends or every handle is dropped.
    pub(super) async fn run(mut self) {
        let failure = self.drive().await;
        for (_, waiting) in self.waiting.drain() {
            let _ = waiting.reply.send(Err(failure.clone()));
        }
        self.ended.send_replace(Some(failure));
    }

    async fn drive(&mut self) -> Failure {
        let mut broken = None;
        loop {
            let writable = broken.is_none();
            let (room, unsent) = (writable && self.writer.has_room(), writable && self.writer.buffered() > 0);
            tokio::select! {
                body = self.reader.next() => {
                    let event = match body {
                        Ok(Some(body)) => self.session.handle_frame(body),
                        Ok(None) | Err(TransportError::Io(_)) if !writable => return broken.expect("not writable"),
                        Ok(None) => return Failure::new(ErrorCode::ConnectionLost, "the gateway closed the session"),
                        Err(error) => return transport_failure(&error),
                    };
                    match event {
                        Some(ClientEvent::Ended(failure)) => return failure,
                        Some(event) => self.handle_event(event),
                        None => {}
                    }
                }
                command = self.commands.recv(), if room => match command {
                    Some(command) => self.handle_command(command),
                    None => return Failure::new(ErrorCode::Cancelled, "the client was dropped"),
                },
                flushed = self.writer.flush(), if unsent => {
                    // Netcore may have sent the reason before it closed: read to the end.
                    broken = flushed.err().map(|error| transport_failure(&error));
                }
            }
        }
    }

    fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Response { id, response } => {
                // The caller may have stopped waiting; a request of the driver's own has no caller.
                if let Some(waiting) = self.waiting.remove(&id) {
                    let _ = waiting.reply.send(Ok(response));
                }
            }
            ClientEvent::Event(Event::Message { topic, message, author, payload })
                if self.routes.contains_key(&topic) =>
            {
                self.route(topic, Message { id: message, author, payload: payload.0 });
            }
            ClientEvent::Event(Event::Heartbeat) => {
                // Fails only if the session is over.
                let _ = self.session.alive(self.writer.buffer());
            }
            ClientEvent::Event(event) => {
                if let Err(error) = self.events.try_send(event) {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    self.turn_down(error.into_inner());
                }
            }
            ClientEvent::Welcome(_) | ClientEvent::Ended(_) => {}
        }
    }

    fn route(&mut self, topic: Name, message: Message) {
        let Some(route) = self.routes.get(&topic) else { return };
        match route.messages.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Closed(_)) => {
                let number = route.number;
                self.unsubscribe(topic, number);
            }
        }
    }

    fn unsubscribe(&mut self, topic: Name, number: u64) {
        if !self.is_of(&topic, number) {
            return;
        }
        // No caller waits for the response. With too many requests in flight the route stays, and the next message
        // tries again.
        let asked = self.session.request(Request::Unsubscribe { topic: topic.clone() }, self.writer.buffer());
        if asked.is_ok() {
            self.routes.remove(&topic);
        }
    }

    fn is_of(&self, topic: &Name, number: u64) -> bool {
        self.routes.get(topic).is_some_and(|route| route.number == number)
    }

    /// Refuses the stream or call of a dropped event, so that the other end fails at once and not after 30 s.
    fn turn_down(&mut self, event: Event) {
        let failure = Failure { code: 0, message: "the plugin does not keep up with its events".to_owned() };
        if !self.writer.has_room() {
            return;
        }
        let out = self.writer.buffer();
        // With too many requests in flight, the stream times out.
        let _ = match event {
            Event::Stream { stream, .. } => {
                self.session.request(Request::RefuseStream { stream, failure }, out).map(drop)
            }
            Event::Call { call, .. } => self.session.decline(call, failure, out),
            _ => Ok(()),
        };
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Request { reply, .. } if reply.is_closed() => {}
            Command::Request { only_of: Some((topic, number)), reply, .. } if !self.is_of(&topic, number) => {
                let _ = reply.send(Ok(Response::Done)); // who asked may have stopped waiting
            }
            Command::Request { request, only_of, ticket, permit, reply } => {
                match self.session.request(request, self.writer.buffer()) {
                    Ok(id) => {
                        if let Some((topic, _)) = only_of {
                            self.routes.remove(&topic);
                        }
                        self.waiting.insert(id, Waiting { ticket, reply, _permit: permit });
                    }
                    Err(error) => {
                        let _ = reply.send(Err(Failure::new(ErrorCode::TooLarge, error.to_string())));
                    }
                }
            }
            Command::Cancel { ticket } => {
                if let Some(id) = self.waiting.iter().find(|(_, waiting)| waiting.ticket == ticket).map(|(id, _)| *id) {
                    // Fails only if the session is over, and the request with it.
                    let _ = self.session.cancel(id, self.writer.buffer());
                }
            }
            Command::Answer { call, payload } => {
                // Fails only if the session is over, and the call with it.
                let _ = self.session.answer(call, payload, self.writer.buffer());
            }
            Command::Decline { call, failure } => {
                let _ = self.session.decline(call, failure.cut(), self.writer.buffer());
            }
            Command::Subscribed { topic, route } => {
                self.routes.insert(topic, route);
            }
            Command::Unsubscribed { topic, number } => self.unsubscribe(topic, number),
        }
    }
}

fn transport_failure(error: &TransportError) -> Failure {
    let code = match error {
        TransportError::Io(_) | TransportError::Cut => ErrorCode::ConnectionLost,
        TransportError::TooLarge(_) | TransportError::Codec(_) | TransportError::Descriptors => ErrorCode::Malformed,
    };
    Failure::new(code, super::with_sources(error))
}
