//! The client against a gateway that this test plays itself, over real sockets.
#![allow(clippy::panic, reason = "helpers of tests fail the test")]

use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;

use interprocess::local_socket::tokio::prelude::*;
use polypeer_ipc_protocol::client::{Client, ClientError, DataStream, Events, StreamError};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{
    Event, Grants, Opening, OpeningReply, Origin, Payload, Request, Response, Target, Welcome,
};
use polypeer_ipc_protocol::ids::{NodeId, Protocol, Secret};
use polypeer_ipc_protocol::limits::MAX_DATA;
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use polypeer_ipc_protocol::transport::{FrameReader, FrameWriter, LocalListener, LocalStream, connect, listen};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

fn protocol() -> Protocol {
    "echo/1".parse().expect("a protocol")
}

fn token() -> Secret {
    Secret([9; 32])
}

/// The gateway's socket in a folder of its own.
struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    listener: LocalListener,
}

/// Netcore's end of a control session.
struct Session {
    machine: ServerSession,
    io: LocalStream,
    input: Vec<u8>,
    out: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.sock");
        let listener = listen(&path).expect("listening");
        Self { _folder: folder, path, listener }
    }

    async fn session(&self) -> (Client, Events, Session) {
        let (connected, session) = tokio::join!(Client::connect(&self.path, token()), self.greet());
        let (client, events) = connected.expect("welcomed");
        (client, events, session)
    }

    async fn greet(&self) -> Session {
        let io = self.listener.accept().await.expect("a connection");
        let mut session = Session { machine: ServerSession::default(), io, input: Vec::new(), out: Vec::new() };
        match session.next().await {
            Some(ServerEvent::Hello { version, token: shown }) => {
                assert!(shown.matches(&token()));
                let welcome = Welcome {
                    version,
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
    async fn stream(&self, client: &Client) -> (DataStream, LocalStream) {
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
    async fn next(&mut self) -> Option<ServerEvent> {
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

    async fn request(&mut self) -> (u64, Request) {
        match self.next().await {
            Some(ServerEvent::Request { id, request }) => (id, request),
            other => panic!("expected a request, got {other:?}"),
        }
    }

    async fn respond(&mut self, id: u64, response: Response) {
        assert!(self.machine.respond(id, response, &mut self.out).expect("small"), "request {id} waits");
        self.flush().await;
    }

    async fn event(&mut self, event: Event) {
        self.machine.event(event, &mut self.out).expect("small");
        self.flush().await;
    }

    async fn flush(&mut self) {
        self.io.write_all(&std::mem::take(&mut self.out)).await.expect("written");
    }
}

async fn send(io: &mut LocalStream, header: DataHeader, payload: &[u8]) {
    io.write_all(&[&header.to_bytes(), payload].concat()).await.expect("written");
}

async fn header(io: &mut LocalStream) -> DataHeader {
    let mut bytes = [0; 4];
    io.read_exact(&mut bytes).await.expect("a header");
    DataHeader::from_bytes(bytes).expect("valid")
}

fn stream_error(error: &std::io::Error) -> &StreamError {
    StreamError::of(error).unwrap_or_else(|| panic!("not a stream error: {error}"))
}

#[tokio::test]
async fn refused_hello_tells_the_reason() {
    let world = World::new();
    let refuse = async {
        let mut io = world.listener.accept().await.expect("a connection");
        let reply = OpeningReply::Refused(Failure::new(ErrorCode::Unauthorised, "wrong token"));
        FrameWriter::new(&mut io).send(&reply).await.expect("written");
    };
    let (connected, ()) = tokio::join!(Client::connect(&world.path, token()), refuse);
    let error = connected.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused(failure) if failure.is(ErrorCode::Unauthorised)), "{error}");
}

#[tokio::test]
async fn nobody_listening_names_the_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("absent.sock");
    let error = connect(&path).await.expect_err("nothing there");
    assert!(error.to_string().contains("absent.sock"), "{error}");
    let long = folder.path().join("x".repeat(200));
    assert!(listen(&long).expect_err("too long").to_string().contains("xxx"));
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let call = |text: &'static str| client.call(Target::Local, protocol(), text, None);
    let serve = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(session.request().await);
        }
        for (id, request) in asked.into_iter().rev() {
            let Request::Call { payload, .. } = request else { panic!("not a call: {request:?}") };
            session.respond(id, Response::Reply { payload }).await;
        }
    };
    let (one, two, three, ()) = tokio::join!(call("one"), call("two"), call("three"), serve);
    assert_eq!(
        (&one.expect("1")[..], &two.expect("2")[..], &three.expect("3")[..]),
        (&b"one"[..], &b"two"[..], &b"three"[..])
    );
}

#[tokio::test]
async fn call_that_nobody_waits_for_any_more_is_cancelled() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(Target::Local, protocol(), "slow", None).await });
    let (id, _) = session.request().await;
    call.abort();
    assert_eq!(session.next().await, Some(ServerEvent::Cancel { id }));
    session.respond(id, Response::Failed(ErrorCode::Cancelled.into())).await;
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let (id, _) = session.request().await;
        session.respond(id, Response::Done).await;
    });
    pinged.expect("the session goes on");
}

#[tokio::test]
async fn too_large_call_fails_alone() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let error = client.call(Target::Local, protocol(), vec![0; (64 << 10) + 1], None).await.expect_err("too large");
    assert!(error.failure().is(ErrorCode::TooLarge), "{error}");
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let (id, _) = session.request().await;
        session.respond(id, Response::Done).await;
    });
    pinged.expect("the session goes on");
}

#[tokio::test]
async fn end_of_the_session_reaches_everybody_who_waits() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    let closing = Failure::new(ErrorCode::Superseded, "a newer session took over");
    let (pinged, ()) = tokio::join!(client.ping(), async {
        session.request().await;
        session.machine.close(closing.clone(), &mut session.out);
        session.flush().await;
    });
    assert!(matches!(pinged, Err(ClientError::Ended(failure)) if failure == closing));
    assert_eq!(events.next().await, Some(Event::Closing(closing.clone())));
    assert_eq!(events.next().await, None);
    assert_eq!(client.ended().await, closing);
    assert!(matches!(client.ping().await, Err(ClientError::Ended(_))));
}

#[tokio::test]
async fn netcore_killed_is_connection_lost() {
    let world = World::new();
    let (client, mut events, session) = world.session().await;
    drop(session);
    assert!(client.ended().await.is(ErrorCode::ConnectionLost));
    assert!(matches!(events.next().await, Some(Event::Closing(failure)) if failure.is(ErrorCode::ConnectionLost)));
}

#[tokio::test]
async fn dropped_client_closes_the_session() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    drop(client);
    assert_eq!(session.next().await, None);
}

#[tokio::test]
async fn events_beyond_the_limit_are_counted_and_their_senders_told() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    for stream in 0..513 {
        session.event(Event::Stream { stream, origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() }).await;
    }
    let (id, request) = session.request().await;
    assert!(matches!(request, Request::RefuseStream { stream: 512, .. }), "{request:?}");
    session.respond(id, Response::Done).await;
    assert_eq!(events.next().await, Some(Event::Dropped { count: 1 }));
    assert!(matches!(events.next().await, Some(Event::Stream { stream: 0, .. })));
    drop(client);
}

#[tokio::test]
async fn stream_carries_both_directions_and_ends_cleanly() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    assert_eq!(stream.origin(), &Origin::Peer(NodeId([8; 32])));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    // Netcore's end: everything comes back, frame by frame.
    let echo = tokio::spawn(async move {
        loop {
            match header(&mut io).await {
                DataHeader::Data(length) => {
                    let mut payload = vec![0; length];
                    io.read_exact(&mut payload).await.expect("payload");
                    send(&mut io, DataHeader::Data(length), &payload).await;
                }
                DataHeader::Fin => return send(&mut io, DataHeader::Fin, b"").await,
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        write.write_all(&bytes).await.expect("written");
        write.shutdown().await.expect("finished");
        write
    };
    let reading = async {
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.expect("a clean end");
        (read, back)
    };
    let (write, (read, back)) = tokio::join!(writing, reading);
    assert!(back == bytes, "what comes back is what was sent");
    stream = read.unsplit(write);
    echo.await.expect("echo is done, its connection closed");
    stream.closed().await.expect("acknowledged");
}

#[tokio::test]
async fn cut_stream_is_an_error_never_an_end() {
    for part in [0, 2, 4, 7] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        send(&mut io, DataHeader::Data(3), b"abc").await;
        let next = [&DataHeader::Data(5).to_bytes()[..], b"xyz"].concat();
        io.write_all(&next[..part]).await.expect("written");
        drop(io);
        let mut text = Vec::new();
        let error = stream.read_to_end(&mut text).await.expect_err("cut");
        assert_eq!(stream_error(&error), &StreamError::Lost);
        assert!(text.starts_with(b"abc"), "what came before the cut is there: {text:?}");
        let error = stream.finish().await.expect_err("nobody there");
        assert_eq!(stream_error(&error), &StreamError::Lost);
        assert_eq!(stream.closed().await, Err(StreamError::Lost));
    }
}

#[tokio::test]
async fn end_of_connection_before_everything_is_acknowledged_is_an_error() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    send(&mut io, DataHeader::Fin, b"").await;
    send(&mut io, DataHeader::Stop(ErrorCode::ConnectionLost.number()), b"").await;
    drop(io);
    assert_eq!(stream.read(&mut [0; 8]).await.expect("clean end"), 0);
    let expected = StreamError::Stopped { code: ErrorCode::ConnectionLost.number() };
    assert_eq!(stream.closed().await, Err(expected));
}

#[tokio::test]
async fn reset_and_stop_show_their_codes() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    send(&mut io, DataHeader::Data(2), b"hi").await;
    send(&mut io, DataHeader::Reset(41), b"").await;
    send(&mut io, DataHeader::Stop(42), b"").await;
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).await.expect_err("reset");
    assert_eq!((stream_error(&error), &text[..]), (&StreamError::Reset { code: 41 }, &b"hi"[..]));
    let error = stream.write_all(&[0; 10]).await.expect_err("stopped");
    assert_eq!(stream_error(&error), &StreamError::Stopped { code: 42 });
    // Its own give-ups still go out.
    stream.stop(7).await.expect("sent");
    stream.reset(8).await.expect("sent");
    assert_eq!((header(&mut io).await, header(&mut io).await), (DataHeader::Stop(7), DataHeader::Reset(8)));
    assert_eq!(stream.closed().await, Err(StreamError::Ended));
}

#[tokio::test]
async fn blocked_writer_is_woken_by_a_stop_behind_unread_data() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    let writing = async {
        let error = loop {
            if let Err(error) = stream.write_all(&[1; 100_000]).await {
                break error;
            }
        };
        assert_eq!(stream_error(&error), &StreamError::Stopped { code: 3 });
    };
    let stopping = async {
        send(&mut io, DataHeader::Data(4), b"data").await;
        send(&mut io, DataHeader::Stop(3), b"").await;
    };
    tokio::join!(writing, stopping);
    let mut data = [0; 4];
    stream.read_exact(&mut data).await.expect("data before the stop is kept");
    assert_eq!(&data, b"data");
}

#[tokio::test]
async fn malformed_data_connection_is_an_error() {
    for bytes in [&[0, 0, 0, 9][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 1, 0, 0, 0, b'x']] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        io.write_all(bytes).await.expect("written");
        let closed = stream.closed().await;
        assert!(matches!(closed, Err(StreamError::Malformed(_))), "{bytes:?}: {closed:?}");
    }
}

/// Polls once, without waiting.
async fn once<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(poll(cx))).await
}

#[tokio::test]
async fn neither_side_buffers_without_bound() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    // Nobody reads at netcore's end: the client takes what the sockets hold and one frame more.
    let (chunk, mut accepted) = (vec![0; MAX_DATA], 0);
    while let Poll::Ready(written) = once(|cx| Pin::new(&mut stream).poll_write(cx, &chunk)).await {
        accepted += written.expect("written");
        assert!(accepted < 8 << 20, "the client buffers without bound");
    }
    // Nobody reads at the client's end: netcore is stopped by the sockets and one read-ahead buffer.
    let mut sent = 0;
    let mut frame = DataHeader::Data(MAX_DATA).to_bytes().to_vec();
    frame.resize(4 + MAX_DATA, 0);
    loop {
        let at = sent % frame.len();
        match once(|cx| Pin::new(&mut io).poll_write(cx, &frame[at..])).await {
            Poll::Ready(written) => sent += written.expect("written"),
            Poll::Pending => {
                let before = sent;
                // A writer that looks for STOP reads ahead, within its buffer.
                let _ = once(|cx| Pin::new(&mut stream).poll_flush(cx)).await;
                tokio::task::yield_now().await;
                if let Poll::Ready(written) = once(|cx| Pin::new(&mut io).poll_write(cx, &frame[at..])).await {
                    sent += written.expect("written");
                }
                if sent == before {
                    break;
                }
            }
        }
        assert!(sent < 8 << 20, "the client reads ahead without bound");
    }
    let mut buffer = [0; 16];
    let mut out = ReadBuf::new(&mut buffer);
    let read = once(|cx| Pin::new(&mut stream).poll_read(cx, &mut out)).await;
    assert!(matches!(read, Poll::Ready(Ok(()))) && out.filled().len() == 16);
}

#[tokio::test]
async fn reader_also_sends_what_a_write_left_behind() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    let chunk = vec![3; MAX_DATA];
    let mut accepted = 0;
    while let Poll::Ready(written) = once(|cx| Pin::new(&mut stream).poll_write(cx, &chunk)).await {
        accepted += written.expect("written");
    }
    // No flush: only a read is waiting while netcore takes everything, and then answers.
    let mut answer = [0; 1];
    let (read, ()) = tokio::join!(stream.read_exact(&mut answer), async {
        let mut taken = 0;
        while taken < accepted {
            let DataHeader::Data(length) = header(&mut io).await else { panic!("only data") };
            io.read_exact(&mut vec![0; length]).await.expect("payload");
            taken += length;
        }
        send(&mut io, DataHeader::Data(1), b"!").await;
    });
    read.expect("answered");
    assert_eq!(&answer, b"!");
}

#[tokio::test]
async fn payload_is_shared_not_shown() {
    assert_eq!(format!("{:?}", Payload(vec![1, 2, 3].into())), "Payload(3 bytes)");
    assert_eq!(format!("{:?}", token()), "Secret(…)");
}
