//! Gossip from and to peers who do what they should not: forged messages, floods, and streams that are refused or never
//! read.

use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::gossip::wire::{MAX_BODY, write_frame};
use polypeer_engine::gossip::{Frame, Message, TopicId};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::limits::MAX_GOSSIP;
use polypeer_netcore::clock;
use polypeer_netcore::limits::{FRAME_STREAMS, FREE_STREAMS};
use polypeer_netcore::wire::{ACCEPTED, StreamKind, refusal_bytes};
use quinn::{Connection, SendStream};

use crate::attacker::{Attacker, call, cut_off, greet, header, misbehaved, stream};
use crate::common::{all, name, until, within};
use crate::world::World;

fn topic() -> TopicId {
    TopicId::of(&name("news"))
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(frame, &mut bytes);
    bytes
}

fn message(author: &Attacker, payload: &[u8]) -> Arc<Message> {
    Arc::new(Message::sign(&author.identity, name("news"), 1, payload.to_vec().into(), clock::now()))
}

/// Opens a stream of gossip with these frames.
async fn gossip(connection: &Connection, frames: &[Frame]) -> SendStream {
    let (mut send, mut recv) = stream(connection, &header(StreamKind::Internal, "gossip/1")).await;
    let mut status = [0];
    within("the answer", recv.read_exact(&mut status)).await.unwrap();
    assert_eq!(status, [ACCEPTED]);
    let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
    let _ = within("frames to be taken", send.write_all(&bytes)).await; // it may be cut off meanwhile
    send
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forges_or_floods_is_cut_off_and_what_is_right_arrives() {
    let world = World::new().await;
    let reader = world.node.plugin("reader", all()).await;
    let mut news = reader.client.subscribe(name("news"), Validation::Signature).await.unwrap();
    let author = Attacker::new();
    let right = Frame::Push { hops: 0, repair: false, message: message(&author, b"right") };

    let mut forged = encoded(&Frame::Push { hops: 0, repair: false, message: message(&author, b"wrong") });
    let last = forged.len() - 1;
    forged[last - 64] ^= 1; // the payload's last byte
    let record = AddressRecord::sign(&author.identity, vec!["127.0.0.1:9".parse().unwrap()], 1, clock::now());
    let record = AddressRecord { node: Attacker::new().node(), ..record };
    let flood: Vec<u8> = encoded(&Frame::Prune { topic: topic() }).repeat(100_000);
    let join = encoded(&Frame::Join { topic: topic(), urgent: true, record: None });
    let shuffle = encoded(&Frame::Shuffle { topic: topic(), answer: true, records: vec![Arc::new(record)] });
    // Cut off by the length alone: nothing follows.
    let long = (MAX_BODY as u32 + 1).to_le_bytes().to_vec();
    let stolen = [join, shuffle].concat();
    for (what, bytes) in [("forged", forged), ("stolen", stolen), ("flood", flood), ("long", long)] {
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let _control = greet(&connection).await;
        let mut send = gossip(&connection, &[]).await;
        let _ = within("bytes to be taken", send.write_all(&bytes)).await; // it may be cut off meanwhile
        assert_eq!(cut_off(&connection).await, misbehaved(), "{what}");
        assert!(world.named(attacker.node()).await.count >= 1, "{what}");
    }
    let connection = author.link(&world.ticket).await;
    let _control = greet(&connection).await;
    let _stream = gossip(&connection, &[right.clone(), right]).await;
    let got = within("the message", news.next()).await.unwrap();
    assert_eq!((got.author, &got.payload[..]), (author.node(), &b"right"[..]));
    world.counted("gossip_dropped_invalid", 1).await;
    world.counted("gossip_dropped_fast", 1).await;
    world.counted("gossip_duplicates", 1).await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_refused_to_who_takes_no_refusal_are_not_in_use() {
    const OPENED: usize = 400;
    let world = World::new().await;
    // Enough to settle, and too little for the reason of a refusal.
    let attacker = Attacker::new().taking(16);
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    // These stand, so that all others are one too many.
    let mut standing = Vec::new();
    for _ in 0..FRAME_STREAMS {
        let (send, mut recv) = stream(&connection, &header(StreamKind::Internal, "gossip/1")).await;
        within("the answer", recv.read_exact(&mut [0])).await.unwrap();
        standing.push((send, recv));
    }
    let mut streams = Vec::new();
    for _ in 0..OPENED {
        let (mut send, recv) = stream(&connection, &header(StreamKind::Internal, "gossip/1")).await;
        send.finish().unwrap();
        streams.push(recv);
    }
    // It had to wait for the node to give up on the first of them before it got the last.
    let mut given_up = 0;
    for recv in &mut streams {
        tokio::select! {
            biased;
            reset = recv.received_reset() => given_up += usize::from(matches!(reset, Ok(Some(_)))),
            () = std::future::ready(()) => {}
        }
    }
    assert!(given_up >= OPENED - FREE_STREAMS - FRAME_STREAMS - 1, "{given_up}");
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_gossip_or_never_reads_it_costs_no_more_than_its_queue() {
    let world = World::new().await;
    let plugin = world.node.plugin("news", all()).await;
    let _news = plugin.client.subscribe(name("news"), Validation::Signature).await.unwrap();
    let frames = [Frame::Topics { topics: vec![topic()] }, Frame::Join { topic: topic(), urgent: true, record: None }];
    // One refuses the node's stream, as a version that knows none of them does; one takes it and reads nothing.
    let (refuses, lazy) = (Attacker::new(), Attacker::new());
    let first = refuses.link(&world.ticket).await;
    let _control = greet(&first).await;
    let _stream = gossip(&first, &frames).await;
    let (mut send, _recv) = within("a stream of gossip", first.accept_bi()).await.unwrap();
    send.write_all(&refusal_bytes(&Failure::from(ErrorCode::Unsupported))).await.unwrap();
    send.finish().unwrap();
    let second = lazy.link(&world.ticket).await;
    let _control = greet(&second).await;
    let _stream = gossip(&second, &frames).await;
    let (mut send, _recv) = within("a stream of gossip", second.accept_bi()).await.unwrap();
    send.write_all(&[ACCEPTED]).await.unwrap();

    until("both to be neighbours, and more lost than a queue holds", async || {
        for _ in 0..20 {
            // It is told to wait once it has published more than peers take.
            let _ = plugin.client.publish(name("news"), vec![7; MAX_GOSSIP]).await;
        }
        (world.node.counter("gossip_frames_dropped").await > 100).then_some(())
    })
    .await;
    // Both links stand.
    for connection in [&first, &second] {
        let answer = call(connection, StreamKind::Call, "honest/1", b"hi").await.expect("an answer");
        assert_eq!(answer, [&[ACCEPTED], b"hi".as_slice()].concat());
    }
    world.is_well().await;
}
