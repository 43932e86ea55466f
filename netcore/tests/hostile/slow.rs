//! Peers that take nothing, or send a byte at a time: they hold their own streams and nothing else.

use std::time::Duration;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_netcore::wire::StreamKind;
use quinn::WriteError;

use crate::attacker::{Attacker, control, cut_off, frame_bytes, greet, header, hello, misbehaved, stream};
use crate::common::within;
use crate::world::{MEMORY_UNREAD, World};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_holds_its_own_streams_only() {
    let world = World::new().await;
    let bytes = [header(StreamKind::Call, "honest/1"), vec![7; 60_000]].concat();
    let mut kept = Vec::new();
    for _ in 0..8 {
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let stream = greet(&connection).await;
        // As many calls as it gets streams for within a while; not one answer is read.
        let mut halves = Vec::new();
        let calls = async {
            loop {
                let (mut send, recv) = connection.open_bi().await.unwrap();
                match send.write_all(&bytes).await {
                    Ok(()) => send.finish().unwrap(),
                    // The plugin has too much waiting already.
                    Err(WriteError::Stopped(_)) => {}
                    Err(error) => panic!("the connection is to stand: {error}"),
                }
                halves.push((send, recv));
            }
        };
        // Stopped by lack of credit, never by the node's lack of memory.
        let _: Result<(), _> = tokio::time::timeout(Duration::from_secs(2), calls).await;
        kept.push((attacker, connection, stream, halves));
        world.goes_on().await;
    }
    world.is_well_within(MEMORY_UNREAD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_byte_at_a_time_is_cut_off_when_time_is_up() {
    let world = World::new().await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        // Half of a Hello, and never the rest.
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let stream = control(&connection, &frame_bytes(&[hello()])[..20]).await;
        slow.push((attacker, connection, vec![stream], Vec::new()));
    }
    for _ in 0..4 {
        // Headers that begin and do not go on, as many as there may be at once.
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let control = greet(&connection).await;
        let mut streams = Vec::new();
        for _ in 0..200 {
            streams.push(stream(&connection, &[40]).await);
        }
        slow.push((attacker, connection, vec![control], streams));
    }
    world.goes_on().await;
    for (number, (attacker, connection, _, _)) in slow.iter().enumerate() {
        assert_eq!(cut_off(connection).await, misbehaved());
        // One Hello that is late happens on a machine under load: it is counted, and nobody is blamed for it.
        if number >= 4 {
            world.named(attacker.node()).await;
        }
    }
    world.counted("peers_misbehaved", 8).await;
    world.counted("peer_headers_late", 128).await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_peer_leaves_no_room_for_are_given_up() {
    let world = World::new().await;
    // Enough to settle, and too little for what is answered: a refusal's reason, or an echo.
    let attacker = Attacker::new().taking(16);
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    let query = Attacker::with(b"polypeer-query/1", None).taking(16);
    let questions = query.dial(&world.ticket).await.expect("the handshake is right");
    let mut waiting = Vec::new();
    for (connection, kind, name) in [
        (&connection, StreamKind::Stream, "nobody/1"),
        (&connection, StreamKind::Call, "nobody/1"),
        (&connection, StreamKind::Internal, "nobody/1"),
        (&connection, StreamKind::Call, "honest/1"),
        (&questions, StreamKind::Internal, "nobody/1"),
    ] {
        let (mut send, recv) = stream(connection, &header(kind, name)).await;
        if kind != StreamKind::Stream {
            send.write_all(&[7; 100]).await.unwrap();
            send.finish().unwrap();
        }
        waiting.push((name, send, recv));
    }
    world.counted("peer_answers_untaken", waiting.len() as u64).await;
    for (name, _send, recv) in &mut waiting {
        let reset = within("the end of a stream", recv.received_reset()).await.unwrap();
        assert_eq!(reset, Some(ErrorCode::TimedOut.number().into()), "{name}");
    }
    world.is_well().await;
}
