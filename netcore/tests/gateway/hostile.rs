//! Plugins that break the rules: they hurt only themselves.

use std::time::Duration;

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{
    CallMode, ClientFrame, Event, Opening, OpeningReply, Request, Response, Scope, ServerFrame, Target, Welcome,
};
use polypeer_ipc_protocol::limits::{MAX_CALLS, MAX_UNCLAIMED};
use polypeer_ipc_protocol::transport::{FrameReader, FrameWriter};
use polypeer_netcore::limits::{DATA_CONNECTIONS, OPENING_CONNECTIONS, Timings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::common::{
    Launch, Netcore, Plugin, all, protocol, read_code, refusal, stream_between, target, until, within, write_code,
};

/// Two honest plugins whose calls must go on whatever else happens.
struct Bystanders {
    near: Plugin,
    far: tokio::task::JoinHandle<()>,
}

impl Bystanders {
    async fn new(node: &Netcore) -> Self {
        let near = node.plugin("bystander", all()).await;
        let mut far = node.plugin("server", all()).await;
        far.client.listen(protocol("honest/1"), Scope::Local, CallMode::Events).await.unwrap();
        let far = tokio::spawn(async move {
            while let Some(Event::Call { call, payload, .. }) = far.events.next().await {
                far.client.answer(call, payload.0).await.unwrap();
            }
        });
        Self { near, far }
    }

    async fn still_work(&self) {
        for n in 0..20u8 {
            let call = self.near.client.call(Target::Local, protocol("honest/1"), vec![n; 1000], None);
            assert_eq!(within("an honest call", call).await.unwrap(), vec![n; 1000]);
        }
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.far.abort();
    }
}

async fn reply(stream: &mut UnixStream) -> OpeningReply {
    let mut bytes = Vec::new();
    within("a refusal and the end", stream.read_to_end(&mut bytes)).await.unwrap();
    codec::decode(frame::split(&bytes).unwrap().expect("one whole frame")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_ends_its_sending_direction_still_gets_what_was_answered() {
    let node = Netcore::start().await;
    let launch = node.launch("brief", all()).await;
    let mut bytes = Vec::new();
    frame::write(&Opening::Hello { versions: vec![1], token: launch.token.clone() }, &mut bytes).unwrap();
    frame::write(&ClientFrame::Request { id: 1, request: Request::Ping }, &mut bytes).unwrap();
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&launch.socket).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answers = Vec::new();
        within("answers and the end", stream.read_to_end(&mut answers)).await.unwrap();
        let welcome = frame::split(&answers).unwrap().expect("an answer");
        assert!(matches!(codec::decode(welcome).unwrap(), OpeningReply::Welcome(_)));
        let pong = frame::split(&answers[frame::HEADER + welcome.len()..]).unwrap().expect("a second answer");
        let pong: ServerFrame = codec::decode(pong).unwrap();
        assert_eq!(pong, ServerFrame::Response { id: 1, response: Response::Done });
    }
}

/// A control session written and read by hand.
struct Raw {
    reader: FrameReader<tokio::net::unix::OwnedReadHalf>,
    writer: FrameWriter<tokio::net::unix::OwnedWriteHalf>,
    welcome: Welcome,
}

impl Raw {
    async fn connect(launch: &Launch) -> Self {
        let (read, write) = UnixStream::connect(&launch.socket).await.unwrap().into_split();
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        writer.send(&Opening::Hello { versions: vec![1], token: launch.token.clone() }).await.unwrap();
        let body = within("an answer", reader.next()).await.unwrap().unwrap();
        let OpeningReply::Welcome(welcome) = codec::decode(body).unwrap() else { panic!("not welcome") };
        Self { reader, writer, welcome }
    }

    async fn request(&mut self, id: u64, request: Request) {
        self.writer.send(&ClientFrame::Request { id, request }).await.unwrap();
    }

    async fn next(&mut self) -> ServerFrame {
        codec::decode(within("a frame", self.reader.next()).await.unwrap().expect("no end")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversized_frames_end_only_their_connection() {
    let node = Netcore::start().await;
    let bystanders = Bystanders::new(&node).await;
    let launch = node.launch("bad", all()).await;
    let half = [&100u32.to_le_bytes()[..], b"half"].concat();
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 0], &[4, 0, 0, 0, 9, 0, 0, 0]]
    {
        let mut stream = UnixStream::connect(&launch.socket).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        match reply(&mut stream).await {
            OpeningReply::Refused(failure) => assert!(failure.is(ErrorCode::Malformed), "{failure}"),
            other => panic!("{other:?}"),
        }
        bystanders.still_work().await;
    }
    // Over what an opening may have, although a later frame could be as long.
    let mut stream = UnixStream::connect(&launch.socket).await.unwrap();
    stream.write_all(&(200u32 << 10).to_le_bytes()).await.unwrap();
    let _ = stream.write_all(&vec![0; 100 << 10]).await;
    assert!(matches!(reply(&mut stream).await, OpeningReply::Refused(failure) if failure.is(ErrorCode::Malformed)));
    assert_eq!(node.counter("gateway_malformed").await, 5);
    // Half a frame, then nothing, then the end.
    let mut stream = UnixStream::connect(&launch.socket).await.unwrap();
    stream.write_all(&half).await.unwrap();
    drop(stream);

    // On a session: the same, with the reason as an event.
    for bytes in [&[0xff; 64][..], &[4, 0, 0, 0, 9, 0, 0, 0]] {
        let mut raw = Raw::connect(&launch).await;
        let mut writer = raw.writer.into_inner();
        writer.write_all(bytes).await.unwrap();
        let body = within("the reason", raw.reader.next()).await.unwrap().expect("no end").to_vec();
        let ServerFrame::Event(Event::Closing(why)) = codec::decode(&body).unwrap() else { panic!("not closing") };
        assert!(why.is(ErrorCode::Malformed), "{why}");
        assert!(within("the end", raw.reader.next()).await.unwrap().is_none());
        bystanders.still_work().await;
    }
    // A request of a later version is answered, and the session goes on.
    let mut raw = Raw::connect(&launch).await;
    let unknown = [&20u32.to_le_bytes()[..], &0u32.to_le_bytes(), &7u64.to_le_bytes(), &99u32.to_le_bytes(), b"more"];
    raw.writer.buffer().extend(unknown.concat());
    raw.writer.flush().await.unwrap();
    let ServerFrame::Response { id: 7, response: Response::Failed(failure) } = raw.next().await else { panic!() };
    assert!(failure.is(ErrorCode::Unsupported), "{failure}");
    raw.request(8, Request::Ping).await;
    assert_eq!(raw.next().await, ServerFrame::Response { id: 8, response: Response::Done });
    drop(raw);
    launch.connect().await.client.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_connection_that_breaks_the_rules_is_a_cut_stream_for_the_other_side() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let launch = one.launch("bad", all()).await;
    let raw = Raw::connect(&launch).await;
    for garbage in [&[0, 0, 0, 0][..], &[1, 0, 8, 0], &[0, 0, 0, 9], &[0, 0, 0, 1, 1, 0, 0, 0, 1]] {
        let (read, write) = UnixStream::connect(&launch.socket).await.unwrap().into_split();
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let opening = Opening::Open {
            secret: raw.welcome.secret.clone(),
            target: target(&two).await,
            protocol: protocol("test/1"),
            timeout_ms: 0,
        };
        writer.send(&opening).await.unwrap();
        let mut accepted = far.accept().await;
        let body = within("an answer", reader.next()).await.unwrap().unwrap();
        assert!(matches!(codec::decode(body).unwrap(), OpeningReply::Opened { .. }));
        writer.into_inner().write_all(garbage).await.unwrap();
        let lost = ErrorCode::ConnectionLost.number();
        if garbage[3] == 1 {
            // After the end everything was said: it is what comes back that is cut.
            assert_eq!(within("the end", accepted.read(&mut [0])).await.unwrap(), 0);
        } else {
            assert_eq!(read_code(&mut accepted).await, lost);
        }
        assert_eq!(write_code(&mut accepted).await, lost);
    }
    assert_eq!(one.counter("gateway_malformed").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_more_than_a_few_wait() {
    let timings = Timings { first_frame: Duration::from_millis(1500), ..Timings::default() };
    let node = Netcore::inside(timings, Duration::from_secs(30)).await;
    let bystanders = Bystanders::new(&node).await;
    let launch = node.launch("silent", all()).await;
    let mut silent = Vec::new();
    for _ in 0..OPENING_CONNECTIONS + 3 {
        silent.push(UnixStream::connect(&launch.socket).await.unwrap());
    }
    bystanders.still_work().await;
    // Those beyond are accepted when the first ones have had their time; in the end the plugin gets its session.
    let plugin = launch.connect().await;
    plugin.client.ping().await.unwrap();
    for mut stream in silent {
        assert!(matches!(reply(&mut stream).await, OpeningReply::Refused(failure) if failure.is(ErrorCode::TimedOut)));
    }
    assert_eq!(node.counter("gateway_silent").await, OPENING_CONNECTIONS as u64 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_never_reads_is_not_read_either_and_its_callers_get_busy() {
    let node = Netcore::start().await;
    let bystanders = Bystanders::new(&node).await;
    let launch = node.launch("deaf", all()).await;
    let mut raw = Raw::connect(&launch).await;
    raw.request(1, Request::Listen { protocol: protocol("deaf/1"), scope: Scope::Local, calls: CallMode::Events })
        .await;
    assert_eq!(raw.next().await, ServerFrame::Response { id: 1, response: Response::Done });

    // It asks and asks and never reads: netcore stops taking requests, so that writing does not end.
    let asking = async {
        for id in 0..1_000_000 {
            raw.writer.push(&ClientFrame::Request { id, request: Request::Node }).unwrap();
            if raw.writer.buffered() > 64 << 10 {
                raw.writer.flush().await.unwrap();
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err(), "every request was taken");
    bystanders.still_work().await;

    // Calls to it fill what may wait for it; then callers are told, at once.
    let near = &bystanders.near;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..MAX_CALLS {
        let client = near.client.clone();
        let timeout = Some(Duration::from_secs(15));
        calls.spawn(async move { client.call(Target::Local, protocol("deaf/1"), vec![0; 60_000], timeout).await });
    }
    let mut busy = 0;
    while let Some(result) = calls.join_next().await {
        let failure = refusal(result.unwrap());
        assert!(
            failure.is(ErrorCode::Busy) || failure.is(ErrorCode::TimedOut) || failure.is(ErrorCode::TooManyStreams),
            "{failure}"
        );
        busy += u32::from(failure.is(ErrorCode::Busy));
    }
    assert!(busy > 200, "{busy}: about a mebibyte of calls may wait");
    assert!(node.counter("refused_busy").await >= u64::from(busy));
    bystanders.still_work().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_nobody_claims_are_limited_and_time_out() {
    let timings = Timings { claim: Duration::from_secs(5), ..Timings::default() };
    let node = Netcore::inside(timings, Duration::from_secs(30)).await;
    let near = node.plugin("near", all()).await;
    let mut lazy = node.plugin("lazy", all()).await;
    lazy.client.listen(protocol("lazy/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let mut opens = tokio::task::JoinSet::new();
    for _ in 0..MAX_UNCLAIMED + 5 {
        let client = near.client.clone();
        opens.spawn(async move { client.open(Target::Local, protocol("lazy/1"), None).await });
    }
    let (mut busy, mut late) = (0, 0);
    while let Some(result) = within("an answer", opens.join_next()).await {
        let failure = refusal(result.unwrap());
        busy += usize::from(failure.is(ErrorCode::Busy));
        late += usize::from(failure.is(ErrorCode::TimedOut));
    }
    assert_eq!((busy, late), (5, MAX_UNCLAIMED));
    assert_eq!(node.counter("streams_unclaimed").await, MAX_UNCLAIMED as u64);
    let Event::Stream { stream, .. } = lazy.event().await else { panic!("not a stream") };
    assert!(refusal(lazy.client.accept(stream).await).is(ErrorCode::NoSuchStream));
    loop {
        if let Event::StreamGone { stream: gone, failure } = lazy.event().await {
            assert!(failure.is(ErrorCode::TimedOut), "{failure}");
            if gone == stream {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_connections_of_a_launch_are_limited() {
    let node = Netcore::start().await;
    let bystanders = Bystanders::new(&node).await;
    let near = node.plugin("near", all()).await;
    let mut far = node.plugin("far", all()).await;
    far.client.listen(protocol("many/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..DATA_CONNECTIONS {
        streams.push(stream_between(&near, &mut far, Target::Local, "many/1").await);
    }
    let failure = refusal(near.client.open(Target::Local, protocol("many/1"), None).await);
    assert!(failure.is(ErrorCode::TooManyStreams), "{failure}");
    assert!(failure.message.contains("near") && failure.message.contains("1024"), "{failure}");
    bystanders.still_work().await;
    drop(streams);
    until("places to be free again", async || {
        let open = near.client.open(Target::Local, protocol("many/1"), Some(Duration::from_millis(100)));
        refusal(open.await).is(ErrorCode::TimedOut).then_some(())
    })
    .await;
}
