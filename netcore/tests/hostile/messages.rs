//! Messages over their limit, cut short, or of nonsense, on every channel there is: each ends the connection of whoever
//! sent it, and nothing else.

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::clock;
use polypeer_netcore::wire::{ControlFrame, StreamKind};
use quinn::Connection;

use crate::attacker::{Attacker, control, cut_off, frame_bytes, greet, header, hello, misbehaved, stream};
use crate::common::{bytes, protocol, within};
use crate::world::World;

/// Somebody who does `what` on a link is cut off, counted and named.
async fn is_cut_off<T>(world: &World, name: &str, what: impl AsyncFnOnce(&Connection) -> T) {
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _kept = what(&connection).await;
    assert_eq!(cut_off(&connection).await, misbehaved(), "{name}");
    let offender = world.named(attacker.node()).await;
    assert!(offender.address.is_some() && offender.count >= 1, "{name}: {offender:?}");
    // It is refused from now on, in words.
    let again = attacker.dial(&world.ticket).await.expect("the handshake is right");
    assert_eq!(cut_off(&again).await, misbehaved(), "{name}: it may come again");
}

fn every_frame(attacker: &Attacker) -> Vec<ControlFrame> {
    let address = "127.0.0.1:7470".parse().unwrap();
    vec![
        hello(),
        ControlFrame::Credit { stream: 4, limit: 1 << 20 },
        ControlFrame::Serving { protocols: vec![protocol("chat/1")] },
        ControlFrame::Ping { nonce: 1 },
        ControlFrame::Pong { nonce: 1 },
        ControlFrame::Record { record: AddressRecord::sign(&attacker.identity, vec![address], 1, clock::now()) },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn control_frames_cut_short_oversize_or_of_nonsense() {
    let world = World::new().await;
    for frame in every_frame(&Attacker::new()) {
        let whole = frame_bytes(std::slice::from_ref(&frame));
        let name = format!("{frame:?}");
        // The body is shorter than its fields, at a place in the middle and just before the end.
        for length in [4, whole.len() / 2, whole.len() - 5] {
            let mut short = u32::try_from(length).unwrap().to_le_bytes().to_vec();
            short.extend_from_slice(&whole[4..4 + length]);
            let bytes = [frame_bytes(&[hello()]), short].concat();
            is_cut_off(&world, &name, async |link| control(link, &bytes).await).await;
        }
        // The stream ends inside the frame.
        let bytes = [frame_bytes(&[hello()]), whole[..whole.len() - 1].to_vec()].concat();
        is_cut_off(&world, &name, async |link| control(link, &bytes).await.finish()).await;
        // More than the frame.
        let mut long = u32::try_from(whole.len() - 4 + 1).unwrap().to_le_bytes().to_vec();
        long.extend_from_slice(&whole[4..]);
        long.push(0);
        let bytes = [frame_bytes(&[hello()]), long].concat();
        is_cut_off(&world, &name, async |link| control(link, &bytes).await).await;
    }
    for (name, bytes) in [
        ("a frame over the limit", vec![0xff; 4]),
        ("a list of 2^60 protocols", [&[20, 0, 0, 0, 2, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 16][..], &[0; 8]].concat()),
        ("noise", bytes(1, 5000)),
    ] {
        let bytes = [frame_bytes(&[hello()]), bytes].concat();
        is_cut_off(&world, name, async |link| control(link, &bytes).await).await;
    }
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_headers_and_calls_cut_short_oversize_or_of_nonsense() {
    let world = World::new().await;
    for (name, bytes) in [
        ("a header over the limit", vec![0xff, 0xff]),
        ("an empty header", vec![0, 0]),
        ("a header of nonsense", vec![4, 0, 0, 0, 0, 0]),
        ("a header with a list of 2^60", [&[12, 0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 16]].concat()),
        ("a header with more behind it", [&[19, 0][..], &header(StreamKind::Call, "chat/1")[2..], &[0]].concat()),
    ] {
        is_cut_off(&world, name, async |link| (greet(link).await, stream(link, &bytes).await)).await;
    }
    for cut in [1, 2, 5, 17] {
        let bytes = header(StreamKind::Stream, "chat/1")[..cut].to_vec();
        is_cut_off(&world, "half a header", async |link| {
            let (mut send, recv) = stream(link, &bytes).await;
            send.finish().unwrap();
            (greet(link).await, send, recv)
        })
        .await;
    }
    for (kind, name) in [
        (StreamKind::Call, "honest/1"),
        (StreamKind::Internal, "kad/1"),
        (StreamKind::Internal, "exchange/1"),
        (StreamKind::Internal, "probe/1"),
    ] {
        let bytes = [header(kind, name), vec![7; 65_537]].concat();
        is_cut_off(&world, name, async |link| (greet(link).await, stream(link, &bytes).await)).await;
    }
    // More of a stream's bytes than anybody has granted, whether it is accepted meanwhile or not.
    is_cut_off(&world, "too many bytes too early", async |link| {
        let control = greet(link).await;
        let (mut send, recv) = stream(link, &header(StreamKind::Stream, "lazy/1")).await;
        while send.write_all(&[1; 70_000]).await.is_ok() {}
        (control, recv)
    })
    .await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_gossip_of_nonsense_are_refused_or_end_the_connection() {
    let world = World::new().await;
    // A question of nonsense may be refused, as one of a later version is, or be a breach: never is it answered.
    for (name, payload) in ["kad/1", "exchange/1", "probe/1", "later/7"]
        .into_iter()
        .flat_map(|name| [vec![], vec![0xff; 4], bytes(3, 900), vec![0; 60_000]].map(|payload| (name, payload)))
    {
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let _control = greet(&connection).await;
        let (mut send, mut recv) =
            stream(&connection, &[header(StreamKind::Internal, name), payload.clone()].concat()).await;
        let _ = send.finish();
        match within("an answer", recv.read_to_end(70_000)).await {
            // An exchange may be asked for with any four bytes.
            Ok(answer) => {
                assert!(answer.first() == Some(&0) || name == "exchange/1", "{name} {}: {answer:?}", payload.len())
            }
            Err(_) => assert_eq!(cut_off(&connection).await, misbehaved(), "{name}"),
        }
        connection.close(0u32.into(), b"");
    }
    for (name, body) in [
        ("a frame over the limit", vec![0xff; 8]),
        ("a frame of nonsense", [&[8, 0, 0, 0, 5, 0, 0, 0][..], &[9; 4]].concat()),
        ("a list of 2^60 topics", [&[12, 0, 0, 0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 16]].concat()),
    ] {
        is_cut_off(&world, name, async |link| {
            let control = greet(link).await;
            let (mut send, mut recv) = stream(link, &header(StreamKind::Internal, "gossip/1")).await;
            within("an answer", recv.read_exact(&mut [0])).await.unwrap();
            let _ = send.write_all(&body).await;
            (control, send, recv)
        })
        .await;
    }
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_that_stops_ends_or_lies_is_no_connection() {
    let world = World::new().await;
    let connected = async || world.node.status().await.connected;
    let before = connected().await;
    for (bytes, ends) in [(&[1u8, 2][..], true), (&[], true), (&[7; 9000], false), (&[7; 8], false)] {
        let attacker = Attacker::new();
        let connection = attacker.dial(&world.ticket).await.expect("the handshake is right");
        let (mut send, _recv) = stream(&connection, bytes).await;
        if ends {
            let _ = send.finish();
        }
        // Whoever follows or decides wrongly, or not at all, is not waited for.
        if attacker.node() < world.ticket.node {
            let _ = send.write_all(&[9]).await;
        }
        if !(bytes.len() >= 8 && attacker.node() > world.ticket.node) {
            within("the end of the connection", connection.closed()).await;
        }
        connection.close(0u32.into(), b"");
    }
    crate::common::until("nobody of them to be connected", async || (connected().await <= before).then_some(())).await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_nonsense_end_the_connection() {
    let world = World::new().await;
    for bytes in [vec![], vec![200, 1, 2], vec![7; 1100]] {
        is_cut_off(&world, "a datagram", async |link| {
            let control = greet(link).await;
            // The first ones may come before the node has seen the Hello and looks at them.
            link.send_datagram(bytes.clone().into()).unwrap();
            control
        })
        .await;
    }
    world.is_well().await;
}

/// An id nobody has the key of.
pub fn nobody() -> NodeId {
    NodeId([0xee; 32])
}
