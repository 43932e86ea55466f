//! Peers that break the protocol: real keys, a real connection, and then anything. They are counted and cut off, and
//! honest peers go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::limits::{FREE_STREAMS, LATE_HEADERS, MAX_SERVING, Timings};
use polypeer_netcore::peers::{Peers, PeersConfig};
use polypeer_netcore::wire::{self, ControlFrame, StreamHeader, StreamKind};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::{DEADLINE, Netcore, Plugin, all, protocol, target, until, within, write_code};

/// The end of a connection that speaks for itself.
struct Liar {
    connection: Connection,
    peers: Peers,
    _home: TempDir,
}

impl Liar {
    async fn connect(to: &Ticket) -> Self {
        let home = TempDir::new().unwrap();
        let config = PeersConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            explicit_listen: true,
            ..PeersConfig::new(home.path().to_owned(), Arc::new(Identity::generate()))
        };
        let peers = Peers::bind(config, Arc::new(|_| {})).await.unwrap();
        peers.open();
        let deadline = Instant::now() + DEADLINE;
        let connection = peers.connect(to.node, &to.addresses, deadline).await.unwrap();
        Self { connection, peers, _home: home }
    }

    /// The first frame as it should be.
    async fn greet(&self) -> SendStream {
        self.control(&[hello()]).await
    }

    async fn control(&self, frames: &[ControlFrame]) -> SendStream {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| wire::write_frame(frame, &mut bytes));
        self.raw_control(&bytes).await
    }

    async fn raw_control(&self, bytes: &[u8]) -> SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn stream(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, recv) = self.connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        (send, recv)
    }

    /// The code it is cut off with.
    async fn cut_off(&self) -> u64 {
        match within("the end of the connection", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

fn hello() -> ControlFrame {
    ControlFrame::Hello {
        version: 1,
        agent: "liar/1".into(),
        network: "main".into(),
        serving: vec![],
        addresses: vec!["not an address".into()],
    }
}

/// Reads a control stream up to a frame that is `wanted`.
async fn control_frame(stream: &mut RecvStream, wanted: impl Fn(&ControlFrame) -> bool) {
    let mut received = Vec::new();
    loop {
        let chunk = stream.read_chunk(1000, true).await.unwrap().expect("no end");
        received.extend_from_slice(&chunk.bytes);
        let mut rest = &received[..];
        while let (wire::Found::Frame(frame), used) = wire::read_frame(rest).unwrap() {
            if wanted(&frame) {
                return;
            }
            rest = &rest[used..];
        }
    }
}

fn header(kind: StreamKind, name: &str) -> Vec<u8> {
    wire::header_bytes(&StreamHeader { kind, protocol: protocol(name) })
}

/// A node under attack, and an honest peer whose calls must go on.
struct World {
    node: Netcore,
    _honest: Netcore,
    caller: Plugin,
    target: Target,
    server: JoinHandle<()>,
    ticket: Ticket,
    cut: u64,
}

impl World {
    async fn new(timings: Timings) -> Self {
        let node = Netcore::inside(timings, Duration::from_secs(30)).await;
        let honest = Netcore::start().await;
        let caller = honest.plugin("caller", all()).await;
        let server = node.plugin("server", all()).await;
        for name in ["honest/1", "lazy/1"] {
            server.client.listen(protocol(name), Scope::Peers, CallMode::Events).await.unwrap();
        }
        let server = tokio::spawn(async move {
            let (mut server, mut kept) = (server, Vec::new());
            while let Some(event) = server.events.next().await {
                match event {
                    Event::Call { call, payload, .. } => server.client.answer(call, payload.0).await.unwrap(),
                    // Taken and never read.
                    Event::Stream { stream, .. } => kept.push(server.client.accept(stream).await),
                    _ => {}
                }
            }
        });
        let (target, ticket) = (target(&node).await, node.ticket().await);
        Self { node, _honest: honest, caller, target, server, ticket, cut: 0 }
    }

    async fn honest_goes_on(&self) {
        for n in 0..20u8 {
            let call = self.caller.client.call(self.target.clone(), protocol("honest/1"), vec![n; 2000], None);
            assert_eq!(within("an honest call", call).await.unwrap(), vec![n; 2000]);
        }
    }

    /// A liar that does `what` is counted and cut off.
    async fn cuts_off<T>(&mut self, name: &str, what: impl AsyncFnOnce(&Liar) -> T) {
        let liar = Liar::connect(&self.ticket).await;
        let _kept = what(&liar).await;
        assert_eq!(liar.cut_off().await, u64::from(ErrorCode::PeerMisbehaved.number()), "{name}");
        // It may have dialed again by itself meanwhile, and have been cut off once more.
        let counted = self.node.counter("peers_misbehaved").await;
        assert!(counted > self.cut, "{name}: {counted}");
        self.cut = counted;
        self.honest_goes_on().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_on_the_control_stream() {
    let mut world = World::new(Timings::default()).await;
    world.cuts_off("garbage", async |liar| liar.raw_control(&[0xa5; 100]).await).await;
    world.cuts_off("a frame over the limit", async |liar| liar.raw_control(&[0, 0, 1, 0]).await).await;
    world.cuts_off("no Hello", async |liar| liar.control(&[ControlFrame::Ping { nonce: 1 }]).await).await;
    world.cuts_off("two Hellos", async |liar| liar.control(&[hello(), hello()]).await).await;
    let half = [4, 0, 0, 0, 1, 0, 0, 0];
    world.cuts_off("half a credit", async |liar| (liar.greet().await.write_all(&half).await, ())).await;
    let many = (0..MAX_SERVING + 1).map(|n| protocol(&format!("p/{n}"))).collect();
    let many = ControlFrame::Serving { protocols: many };
    world.cuts_off("too many protocols", async |liar| liar.control(&[hello(), many]).await).await;
    let bad_name = [20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    world.cuts_off("a bad name", async |liar| (liar.greet().await.write_all(&bad_name).await, ())).await;
    world.cuts_off("the end of the control stream", async |liar| liar.greet().await.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_on_streams() {
    let mut world = World::new(Timings::default()).await;
    world
        .cuts_off("a header over the limit", async |liar| (liar.greet().await, liar.stream(&[0xff, 0xff]).await))
        .await;
    world.cuts_off("a garbage header", async |liar| (liar.greet().await, liar.stream(&[4, 0, 0, 0, 0, 0]).await)).await;
    world
        .cuts_off("half a header", async |liar| {
            let (mut send, recv) = liar.stream(&[40, 0, 1]).await;
            send.finish().unwrap();
            (liar.greet().await, recv)
        })
        .await;
    world
        .cuts_off("more than the credit before the stream is accepted", async |liar| {
            let control = liar.greet().await;
            let (mut send, recv) = liar.stream(&header(StreamKind::Stream, "lazy/1")).await;
            // It may be accepted meanwhile; then the credit ends all the same, since nobody reads.
            while send.write_all(&[1; 70_000]).await.is_ok() {}
            (control, recv)
        })
        .await;
    world
        .cuts_off("bytes beyond the credit", async |liar| {
            let control = liar.greet().await;
            let (mut send, mut recv) = liar.stream(&header(StreamKind::Stream, "lazy/1")).await;
            let mut status = [9];
            recv.read_exact(&mut status).await.unwrap();
            if status != [wire::ACCEPTED] {
                let rest = recv.read_to_end(2000).await.unwrap();
                panic!("refused: {}", wire::read_failure(&rest[2..]).unwrap());
            }
            // Nobody reads, so the credit ends soon; this goes on.
            while send.write_all(&[7; 64 << 10]).await.is_ok() {}
            (control, recv)
        })
        .await;
    world
        .cuts_off("a call over the limit", async |liar| {
            let bytes = [header(StreamKind::Call, "honest/1"), vec![1; 65_537]].concat();
            (liar.greet().await, liar.stream(&bytes).await)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_exceeds_its_credit_leaves_nothing_booked_at_a_plugin_that_only_writes() {
    let timings = Timings { finish: Duration::from_secs(1), ..Timings::default() };
    let node = Netcore::inside(timings, Duration::from_secs(30)).await;
    let mut server = node.plugin("server", all()).await;
    server.client.listen(protocol("lazy/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let ticket = node.ticket().await;
    for _ in 0..3 {
        let liar = Liar::connect(&ticket).await;
        let _control = liar.greet().await;
        let (mut send, mut recv) = liar.stream(&header(StreamKind::Stream, "lazy/1")).await;
        let mut far = server.accept().await;
        let mut status = [9];
        recv.read_exact(&mut status).await.unwrap();
        assert_eq!(status, [wire::ACCEPTED]);
        // The plugin fills what the liar takes, and reads nothing of what it sends.
        let writing = tokio::spawn(async move { write_code(&mut far).await });
        while send.write_all(&[7; 64 << 10]).await.is_ok() {}
        assert_eq!(within("the writer's error", writing).await.unwrap(), ErrorCode::ConnectionLost.number());
    }
    let given_back = async || (node.counter("window_bytes.server").await == 0).then_some(());
    until("everything to be given back", given_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_a_node_is_told_are_compared_with_its_own() {
    let node = Netcore::start().await;
    let warned = async || node.status().await.warnings.into_iter().find(|text| text.contains("clock"));
    let liar = Liar::connect(&node.ticket().await).await;
    let ahead = ControlFrame::Clock { unix: polypeer_netcore::clock::now().unix + 1200 };
    let mut control = liar.control(&[hello(), ahead]).await;
    let warning = until("a warning", &warned).await;
    assert!(warning.contains("about 20 min from 1 of 1 peers: it is behind"), "{warning}");
    // Another one within a minute is ignored.
    let right = || ControlFrame::Clock { unix: polypeer_netcore::clock::now().unix };
    let mut bytes = Vec::new();
    wire::write_frame(&right(), &mut bytes);
    control.write_all(&bytes).await.unwrap();
    let ignored = async || (node.counter("peer_clocks_ignored").await == 1).then_some(());
    until("the second clock to be ignored", ignored).await;
    assert!(warned().await.is_some());
    // A second peer whose clock is this node's: two that do not agree say nothing.
    let honest = Liar::connect(&node.ticket().await).await;
    let _control = honest.control(&[hello(), right()]).await;
    until("no warning", async || warned().await.is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_streams_without_a_header_or_without_a_server() {
    let timings = Timings { header: Duration::from_secs(2), ..Timings::default() };
    let mut world = World::new(timings).await;
    // Valid, and for nothing: each is refused.
    let liar = Liar::connect(&world.ticket).await;
    let control = liar.greet().await;
    for _ in 0..1000 {
        let (_send, mut recv) = liar.stream(&header(StreamKind::Stream, "nothing/1")).await;
        let answer = within("an answer", recv.read_to_end(2000)).await.unwrap();
        assert_eq!(answer[0], wire::REFUSED);
        let failure = wire::read_failure(&answer[3..]).unwrap();
        assert!(failure.is(ErrorCode::NotServed), "{failure}");
    }
    assert!(liar.connection.close_reason().is_none(), "it broke no rule");
    world.honest_goes_on().await;
    liar.connection.close(0u32.into(), b"");
    drop((control, liar)); // with it goes what would dial again

    world
        .cuts_off("streams without a header", async |liar| {
            let control = liar.greet().await;
            let mut streams = Vec::new();
            for _ in 0..=LATE_HEADERS {
                streams.push(liar.stream(&[40]).await);
            }
            (control, streams)
        })
        .await;
    assert!(world.node.counter("peer_headers_late").await >= LATE_HEADERS);

    // A connection that never says Hello is not kept.
    world.cuts_off("silence", async |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_streams_of_later_versions_are_no_lies() {
    let world = World::new(Timings::default()).await;
    let liar = Liar::connect(&world.ticket).await;
    let mut control = liar.greet().await;
    control.write_all(&[6, 0, 0, 0, 77, 0, 0, 0, 1, 2]).await.unwrap();
    let (_send, mut recv) = liar.stream(&[4, 0, 9, 0, 0, 0]).await;
    let answer = within("an answer", recv.read_to_end(2000)).await.unwrap();
    assert!(wire::read_failure(&answer[3..]).unwrap().is(ErrorCode::Unsupported));
    // Credit for streams there are none of, and less than before, mean nothing.
    let mut bytes = Vec::new();
    wire::write_frame(&ControlFrame::Credit { stream: 4000, limit: u64::MAX }, &mut bytes);
    wire::write_frame(&ControlFrame::Ping { nonce: 5 }, &mut bytes);
    control.write_all(&bytes).await.unwrap();
    let mut theirs = within("their control stream", liar.connection.accept_uni()).await.unwrap();
    within("a pong", control_frame(&mut theirs, |frame| *frame == ControlFrame::Pong { nonce: 5 })).await;
    assert_eq!(world.node.counter("peer_frames_unknown").await, 1);
    assert_eq!(world.node.counter("peers_misbehaved").await, 0);
}

/// Waits for a ping on a connection; what it was received on, to be kept.
async fn pinged(connection: &Connection) -> RecvStream {
    let mut theirs = connection.accept_uni().await.unwrap();
    control_frame(&mut theirs, |frame| matches!(frame, ControlFrame::Ping { .. })).await;
    theirs
}

async fn ping(node: &Netcore, liar: &Liar) -> AdminResponse {
    let request = AdminRequest::Ping { ticket: liar.peers.ticket(), timeout_ms: 600_000 };
    within("the end of the ping", node.ask(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_ends_with_the_connection() {
    let node = Netcore::start().await;
    let liar = Liar::connect(&node.ticket().await).await;
    let _control = liar.greet().await;
    let goes = async {
        let _theirs = pinged(&liar.connection).await;
        liar.connection.close(ErrorCode::Blocked.number().into(), b"");
    };
    match tokio::join!(ping(&node, &liar), goes).0 {
        AdminResponse::Failed(failure) => assert!(failure.is(ErrorCode::Blocked), "{failure}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_the_tie_break_and_of_a_refusal_may_be_written_late() {
    let node = Netcore::start().await;
    let liar = Liar::connect(&node.ticket().await).await;
    let _control = liar.greet().await;
    // The liar answers a stream that the node opens: a refusal, and the end after it.
    let plugin = node.plugin("opener", all()).await;
    let there = Target::Node(liar.peers.node());
    let opening = plugin.client.open(there, protocol("any/1"), None);
    let refusing = async {
        let (mut send, _recv) = liar.connection.accept_bi().await.unwrap();
        send.write_all(&wire::refusal_bytes(&ErrorCode::NotServed.into())).await.unwrap();
        tokio::task::yield_now().await;
        send.finish().unwrap();
        send.stopped().await.unwrap()
    };
    let (opened, stopped) = within("the refusal", async { tokio::join!(opening, refusing) }).await;
    assert!(opened.is_err());
    assert_eq!(stopped, None, "its end was read, not stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_no_answers_gets_no_more_streams() {
    let world = World::new(Timings::default()).await;
    let liar = Liar::connect(&world.ticket).await;
    let _control = liar.greet().await;
    // Replies of which only the first byte is read fill the connection's window; what is sent after that stays.
    let mut kept = Vec::new();
    let call = [header(StreamKind::Call, "honest/1"), vec![7; 60_000]].concat();
    loop {
        let (mut send, mut recv) = liar.stream(&call).await;
        send.finish().unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(1), recv.read_exact(&mut [0])).await;
        kept.push((send, recv));
        if answered.is_err() {
            break;
        }
    }
    let more = async {
        for _ in 0..6 * FREE_STREAMS {
            let (mut send, recv) = liar.stream(&call).await;
            send.finish().unwrap();
            kept.push((send, recv));
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), more).await.is_err(), "the peer ran out of streams");
    world.honest_goes_on().await;
}
