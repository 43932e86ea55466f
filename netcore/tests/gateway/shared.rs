//! One connection, several plugins: one that opens all the streams it can and never reads does not disturb another.

use std::time::Duration;

use polypeer_engine::link::credit::INITIAL_WINDOW;
use polypeer_ipc_protocol::client::{Client, DataStream};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_netcore::limits::{STREAMS_PER_PEER, WINDOW_POOL};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::common::{DEADLINE, Netcore, Plugin, all, bytes, protocol, refusal, stream_between, target, within};

/// Answers calls and echoes streams.
async fn serve(mut plugin: Plugin) {
    let mut streams = JoinSet::new();
    while let Some(event) = plugin.events.next().await {
        match event {
            Event::Call { call, payload, .. } => plugin.client.answer(call, payload.0).await.unwrap(),
            Event::Stream { stream, .. } => {
                let client = plugin.client.clone();
                streams.spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(client.accept(stream).await.unwrap());
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
            _ => {}
        }
    }
}

/// Writes as much as is taken, and says when a while nothing was taken any more.
async fn clog(mut stream: DataStream) -> DataStream {
    let chunk = bytes(3, 64 << 10);
    while tokio::time::timeout(Duration::from_millis(500), stream.write_all(&chunk)).await.is_ok() {}
    stream
}

async fn round_trips(client: &Client, target: &Target) {
    for n in 0..100u8 {
        let call = client.call(target.clone(), protocol("good/1"), vec![n; 5000], Some(DEADLINE));
        assert_eq!(within("a call", call).await.unwrap(), vec![n; 5000]);
    }
    let stream = client.open(target.clone(), protocol("good/1"), Some(DEADLINE));
    let (mut reader, mut writer) = tokio::io::split(within("a stream", stream).await.unwrap());
    let sent = bytes(7, 8 << 20);
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within("the echo", reader.read_to_end(&mut received)).await.unwrap();
    writing.await.unwrap();
    assert!(received == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_opens_all_it_can_and_never_reads_stalls_itself_only() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let stuck = one.plugin("stuck", all()).await;
    let good = one.plugin("good", all()).await;
    let mut stuck_far = two.plugin("stuck-far", all()).await;
    let good_far = two.plugin("good-far", all()).await;
    stuck_far.client.listen(protocol("stuck/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    good_far.client.listen(protocol("good/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let serving = tokio::spawn(serve(good_far));
    let target = target(&two).await;
    round_trips(&good.client, &target).await;

    // All the streams it gets, filled from both sides, read by nobody.
    let mut clogged = JoinSet::new();
    for _ in 0..STREAMS_PER_PEER {
        let (near, far) = stream_between(&stuck, &mut stuck_far, target.clone(), "stuck/1").await;
        clogged.spawn(clog(near));
        clogged.spawn(clog(far));
    }
    let failure = refusal(stuck.client.open(target.clone(), protocol("stuck/1"), None).await);
    assert!(failure.is(ErrorCode::TooManyStreams), "{failure}");
    assert!(failure.message.contains("stuck") && failure.message.contains("128"), "{failure}");
    let failure = refusal(stuck.client.call(target.clone(), protocol("good/1"), &b""[..], None).await);
    assert!(failure.is(ErrorCode::TooManyStreams), "calls count as streams: {failure}");
    round_trips(&good.client, &target).await;
    // Even to the very plugin whose streams are all clogged.
    drop(stream_between(&good, &mut stuck_far, target.clone(), "stuck/1").await);

    let streams = within("all of it to be stuck", clogged.join_all()).await;
    assert_eq!(streams.len(), 2 * STREAMS_PER_PEER);
    round_trips(&good.client, &target).await;

    // The other way round, over the same connection: dialed by nobody, since it stands.
    let back = Target::Node(good.client.node_id());
    let caller = two.plugin("caller", all()).await;
    good.client.listen(protocol("good/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let client = good.client.clone();
    let serving_back = tokio::spawn(serve(good));
    round_trips(&caller.client, &back).await;

    for (netcore, plugin) in [(&one, "stuck"), (&two, "stuck-far")] {
        let peak = netcore.counter(&format!("window_bytes_peak.{plugin}")).await;
        let least = STREAMS_PER_PEER as u64 * INITIAL_WINDOW;
        assert!((least..=WINDOW_POOL + INITIAL_WINDOW).contains(&peak), "{plugin} was granted {peak} bytes at once");
    }
    assert_eq!(one.counter("peers_misbehaved").await + two.counter("peers_misbehaved").await, 0);

    // Once it lets go, it has its streams again.
    drop(streams);
    let opening = async {
        loop {
            match stuck.client.open(target.clone(), protocol("stuck/1"), None).await {
                Ok(opened) => return opened,
                // What it let go is not over yet.
                refused => assert!(refusal(refused).is(ErrorCode::TooManyStreams)),
            }
        }
    };
    let (_near, _far) = within("a stream again", async { tokio::join!(opening, stuck_far.accept()) }).await;
    drop(client);
    serving.abort();
    serving_back.abort();
}
