//! Streams and calls that work.

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::DataStream;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Origin, Scope, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Netcore, all, bytes, peer_of, protocol, target, within};

/// Sends `sent` with its end while reading to the other side's; both directions then end cleanly.
async fn exchange(stream: DataStream, sent: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let reading = async { reader.read_to_end(&mut received).await.unwrap() };
    within("an exchange", async { tokio::join!(writing, reading) }).await;
    reader.unsplit(writer).closed().await.unwrap();
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_between_two_nodes_is_exact_in_both_directions_at_once() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("bulk/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let opened = near.client.open(target(&two).await, protocol("bulk/1"), None);
    let (opened, accepted) = within("a stream", async { tokio::join!(opened, far.accept()) }).await;
    let opened = opened.unwrap();
    assert_eq!(peer_of(opened.origin()), far.client.node_id());
    assert_eq!(peer_of(accepted.origin()), near.client.node_id());
    let (there, back) = (bytes(1, 48 << 20), bytes(2, 40 << 20));
    let (at_near, at_far) =
        tokio::join!(tokio::spawn(exchange(opened, there.clone())), tokio::spawn(exchange(accepted, back.clone())));
    assert!(at_far.unwrap() == there, "what arrived at the far plugin");
    assert!(at_near.unwrap() == back, "what arrived at the near plugin");
    one.event(&AdminEvent::PeerUp { node: far.client.node_id() }).await;
    let traffic = match one.ask(AdminRequest::Traffic).await {
        AdminResponse::Traffic(traffic) => traffic,
        other => panic!("{other:?}"),
    };
    assert_eq!((traffic[0].sent_bytes, traffic[0].received_bytes), (48 << 20, 40 << 20));
    assert_eq!(traffic[0].streams, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_answered_as_event_or_as_stream() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    let target = target(&two).await;
    far.client.listen(protocol("event/1"), Scope::Peers, CallMode::Events).await.unwrap();
    far.client.listen(protocol("stream/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let payload = bytes(3, 64 << 10);

    let call = near.client.call(target.clone(), protocol("event/1"), payload.clone(), None);
    let answer = async {
        let Event::Call { call, origin, payload, .. } = far.event().await else { panic!("not a call") };
        assert_eq!(peer_of(&origin), near.client.node_id());
        let mut reply = payload.0.to_vec();
        reply.reverse();
        far.client.answer(call, reply).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert!(reply.unwrap().iter().rev().eq(&payload), "the reply is the payload reversed");

    let call = near.client.call(target, protocol("stream/1"), payload.clone(), None);
    let answer = async {
        let mut stream = far.accept().await;
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).await.unwrap();
        stream.write_all(&asked[..10]).await.unwrap();
        stream.finish().await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert_eq!(reply.unwrap(), payload[..10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_stream_and_local_call_need_no_network() {
    let node = Netcore::start().await;
    let near = node.plugin("near", all()).await;
    let mut far = node.plugin("far", all()).await;
    far.client.listen(protocol("control/1"), Scope::Local, CallMode::Events).await.unwrap();
    let opened = near.client.open(Target::Local, protocol("control/1"), None);
    let (opened, accepted) = within("a stream", async { tokio::join!(opened, far.accept()) }).await;
    assert_eq!(accepted.origin(), &Origin::Local("near".parse().unwrap()));
    let (there, back) = (bytes(1, 20 << 20), bytes(2, 10 << 20));
    let (at_near, at_far) = tokio::join!(
        tokio::spawn(exchange(opened.unwrap(), there.clone())),
        tokio::spawn(exchange(accepted, back.clone()))
    );
    assert!(at_far.unwrap() == there && at_near.unwrap() == back);

    let call = near.client.call(Target::Local, protocol("control/1"), &b"hello"[..], None);
    let answer = async {
        let Event::Call { call, payload, .. } = far.event().await else { panic!("not a call") };
        far.client.answer(call, payload.0).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert_eq!(reply.unwrap(), b"hello"[..]);
}
