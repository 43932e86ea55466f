//! A gateway that the test plays: its socket, and netcore's end of sessions and data connections.

use std::path::PathBuf;

use interprocess::local_socket::tokio::prelude::*;
use polypeer_ipc_protocol::client::{Client, DataStream, Events};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{
    ClientFrame, Event, Grants, Opening, OpeningReply, Origin, Request, Response, Target, Welcome,
};
use polypeer_ipc_protocol::ids::{NodeId, Protocol, Secret};
use polypeer_ipc_protocol::limits::VERSION;
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use polypeer_ipc_protocol::transport::{FrameReader, FrameWriter, LocalListener, LocalStream, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) fn protocol() -> Protocol {
    "echo/1".parse().expect("a protocol")
}

pub(crate) fn token() -> Secret {
    Secret([9; 32])
}

/// The gateway's socket, in a folder of its own.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) listener: LocalListener,
}

/// Netcore's end of a control session.
pub(crate) struct Session {
    pub(crate) machine: ServerSession,
    io: LocalStream,
    input: Vec<u8>,
    pub(crate) out: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.sock");
        let listener = listen(&path).expect("listening");
        Self { _folder: folder, path, listener }
    }

    pub(crate) async fn session(&self) -> (Client, Events, Session) {
        let (connected, session) = tokio::join!(Client::connect(&self.path, token()), self.greet());
        let (client, events) = connected.expect("welcomed");
        (client, events, session)
    }

    pub(crate) async fn greet(&self) -> Session {
        let io = self.listener.accept().await.expect("a connection");
        let mut session = Session { machine: ServerSession::default(), io, input: Vec::new(), out: Vec::new() };
        match session.next().await {
            Some(ServerEvent::Opening(Opening::Hello { token: shown, .. })) => {
                assert!(shown.matches(&token()));
                let welcome = Welcome {
                    version: VERSION,
                    node: NodeId([7; 32]),
                    plugin: "echo".parse().expect("an id"),
                    grants: Grants::default(),
                    secret: Secret([5; 32]),
                };
                session.machine.welcome(welcome, &mut session.out).expect("small");
                session.flush().await;
            }
            other => panic!("expected Hello, got {other:?}"),
        }
        session
    }

    /// A stream opened by the client, and the raw connection at netcore's end.
    pub(crate) async fn stream(&self, client: &Client) -> (DataStream, LocalStream) {
        let (opened, io) = tokio::join!(client.open(Target::Local, protocol(), None), async {
            let mut io = self.listener.accept().await.expect("a connection");
            let mut reader = FrameReader::new(&mut io);
            let body = reader.next().await.expect("read").expect("a frame");
            match decode::opening(body).expect("valid") {
                Opening::Open { secret, .. } => assert!(secret.matches(&Secret([5; 32]))),
                other => panic!("expected Open, got {other:?}"),
            }
            let reply = OpeningReply::Opened { origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() };
            FrameWriter::new(&mut io).send(&reply).await.expect("written");
            io
        });
        (opened.expect("opened"), io)
    }
}

impl Session {
    /// The session secret that opens data connections.
    pub(crate) fn secret(&self) -> Secret {
        Secret([5; 32])
    }

    pub(crate) async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let mut view = &self.input[..];
            let event = self.machine.read(&mut view, &mut self.out);
            self.input = view.to_vec();
            self.flush().await;
            if event.is_some() {
                return event;
            }
            if self.io.read_buf(&mut self.input).await.expect("read") == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn request(&mut self) -> (u64, Request) {
        match self.next().await {
            Some(ServerEvent::Frame(ClientFrame::Request { id, request })) => (id, request),
            other => panic!("expected a request, got {other:?}"),
        }
    }

    pub(crate) async fn respond(&mut self, id: u64, response: Response) {
        assert!(self.machine.respond(id, response, &mut self.out).expect("small"), "request {id} waits");
        self.flush().await;
    }

    pub(crate) async fn event(&mut self, event: Event) {
        self.machine.event(event, &mut self.out).expect("small");
        self.flush().await;
    }

    pub(crate) async fn flush(&mut self) {
        self.io.write_all(&std::mem::take(&mut self.out)).await.expect("written");
    }
}

pub(crate) async fn send(io: &mut LocalStream, header: DataHeader, payload: &[u8]) {
    io.write_all(&[&header.to_bytes(), payload].concat()).await.expect("written");
}

pub(crate) async fn header(io: &mut LocalStream) -> DataHeader {
    let mut bytes = [0; 4];
    io.read_exact(&mut bytes).await.expect("a header");
    DataHeader::from_bytes(bytes).expect("valid")
}
