//! First bytes of a stream: they travel before the stream is accepted, within the credit of a new stream.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::DataStream;
use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::frame::{self, DataHeader};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Opening, OpeningReply, Scope, Target};
use polypeer_ipc_protocol::limits::MAX_UNCLAIMED;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::common::{Netcore, Plugin, all, bytes, protocol, read_code, refusal, target, until, within};

/// The credit of a new stream, bytes.
const CREDIT: usize = 64 << 10;

async fn sent(node: &Netcore, plugin: &str) -> u64 {
    let AdminResponse::Traffic(traffic) = node.ask(AdminRequest::Traffic).await else { panic!("not traffic") };
    traffic.iter().find(|of| of.plugin.as_str() == plugin).map_or(0, |of| of.sent_bytes)
}

/// A data connection that has sent an opening and `first`, and does not wait for the answer.
async fn open_raw(near: &Plugin, target: &Target, name: &str, first: &[u8]) -> UnixStream {
    let mut out = Vec::new();
    let secret = near.client.welcome().secret.clone();
    let opening = Opening::Open { secret, target: target.clone(), protocol: protocol(name), timeout_ms: 0 };
    frame::write(&opening, &mut out).unwrap();
    out.extend_from_slice(&DataHeader::Data(first.len()).to_bytes());
    out.extend_from_slice(first);
    let mut stream = UnixStream::connect(&near.launch.socket).await.unwrap();
    stream.write_all(&out).await.unwrap();
    stream
}

async fn reply(stream: &mut UnixStream) -> OpeningReply {
    let length = within("an answer", stream.read_u32_le()).await.unwrap();
    let mut body = vec![0; length as usize];
    within("an answer", stream.read_exact(&mut body)).await.unwrap();
    codec::decode(&body).unwrap()
}

async fn unclaimed(far: &mut Plugin) -> u64 {
    match far.event().await {
        Event::Stream { stream, .. } => stream,
        other => panic!("{other:?}"),
    }
}

async fn exactly(stream: &mut DataStream, count: usize) -> Vec<u8> {
    let mut read = vec![0; count];
    within("bytes", stream.read_exact(&mut read)).await.unwrap();
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_travel_before_the_stream_is_claimed_and_no_more_than_its_credit() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let to = target(&two).await;
    let first = bytes(1, 2 * CREDIT);
    let mut raw = open_raw(&near, &to, "test/1", &first).await;
    let stream = unclaimed(&mut far).await;
    until("a stream's credit to be sent", async || (sent(&one, "near").await == CREDIT as u64).then_some(())).await;
    let mut accepted = within("a claim", far.client.accept(stream)).await.unwrap();
    assert!(matches!(reply(&mut raw).await, OpeningReply::Opened { .. }));
    raw.write_all(&DataHeader::Fin.to_bytes()).await.unwrap();
    assert!(exactly(&mut accepted, first.len()).await == first);
    assert_eq!(within("the end", accepted.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_and_an_abort_that_come_early_are_the_streams() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let to = target(&two).await;
    for end in [DataHeader::Fin, DataHeader::Reset(9)] {
        let mut raw = open_raw(&near, &to, "test/1", b"first").await;
        raw.write_all(&end.to_bytes()).await.unwrap();
        let stream = unclaimed(&mut far).await;
        let mut accepted = within("a claim", far.client.accept(stream)).await.unwrap();
        if end == DataHeader::Fin {
            let mut all = Vec::new();
            within("the end", accepted.read_to_end(&mut all)).await.unwrap();
            assert_eq!(all, b"first");
        } else {
            assert_eq!(read_code(&mut accepted).await, 9);
        }
    }
    // The connection is closed before the answer: the stream is withdrawn, whatever was sent and ended.
    for end in [&b""[..], &DataHeader::Fin.to_bytes()] {
        let mut raw = open_raw(&near, &to, "test/1", b"first").await;
        raw.write_all(end).await.unwrap();
        let stream = unclaimed(&mut far).await;
        drop(raw);
        assert!(matches!(far.event().await, Event::StreamGone { stream: gone, .. } if gone == stream));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_to_what_refuses_the_stream_are_dropped() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let to = target(&two).await;
    let first = bytes(2, 30_000);
    let failure = refusal(near.client.open_with(to.clone(), protocol("none/1"), &first, None).await);
    assert!(failure.is(ErrorCode::NotServed), "{failure}");
    let opened = near.client.open_with(to, protocol("test/1"), &first, None);
    let refused = async {
        let stream = unclaimed(&mut far).await;
        far.client.refuse(stream, ErrorCode::HandlerFailed.into()).await.unwrap();
    };
    let (opened, ()) = tokio::join!(opened, refused);
    assert!(refusal(opened).is(ErrorCode::HandlerFailed));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_of_streams_that_nobody_claims_are_limited() {
    const PLUGINS: usize = 3;
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let to = target(&two).await;
    let (first, mut waiting, mut lazy, mut near) = (bytes(3, CREDIT), Vec::new(), Vec::new(), Vec::new());
    for number in 0..PLUGINS {
        let name = format!("lazy/{number}");
        let plugin = two.plugin(&format!("lazy{number}"), all()).await;
        plugin.client.listen(protocol(&name), Scope::Peers, CallMode::Events).await.unwrap();
        lazy.push(plugin);
        near.push(one.plugin(&format!("near{number}"), all()).await);
        for _ in 0..MAX_UNCLAIMED {
            waiting.push(open_raw(&near[number], &to, &name, &first).await);
        }
    }
    // They bring 24 MiB, of which a node holds 16 MiB and a half.
    until("some to be refused", async || (two.counter("peer_payloads_refused").await > 0).then_some(())).await;
    // Calls to a plugin that answers have room of their own.
    let mut quick = two.plugin("quick", all()).await;
    quick.client.listen(protocol("quick/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let call = near[0].client.call(to.clone(), protocol("quick/1"), bytes(4, CREDIT), None);
    let answer = async {
        let Event::Call { call, payload, .. } = quick.event().await else { panic!("not a call") };
        quick.client.answer(call, payload.0).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert!(reply.unwrap()[..] == bytes(4, CREDIT)[..]);
    // The refusals free nothing that the others wait for, and what is claimed is whole.
    let Event::Stream { stream, .. } = lazy[0].event().await else { panic!("not a stream") };
    let mut accepted = within("a claim", lazy[0].client.accept(stream)).await.unwrap();
    assert!(exactly(&mut accepted, first.len()).await == first);
}
