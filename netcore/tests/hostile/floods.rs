//! Floods: of streams for nothing, of questions, of datagrams, of connections.

use polypeer_netcore::limits::{STREAMS_FOR_NOTHING, STREAMS_REFUSED};
use polypeer_netcore::wire::StreamKind;

use crate::attacker::{Attacker, call, cut_off, greet, header, misbehaved};
use crate::common::within;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_for_nothing_is_refused_then_cut_off() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    let bytes = header(StreamKind::Stream, "nothing/1");
    let flood = async {
        let most = 20 * u64::from(STREAMS_FOR_NOTHING.burst + STREAMS_REFUSED.burst);
        for number in 0..most {
            let Ok((mut send, mut recv)) = connection.open_bi().await else { return number };
            if send.write_all(&bytes).await.is_err() {
                return number;
            }
            // It breaks no rule: each refusal is heard to its end.
            tokio::spawn(async move {
                let _ = recv.read_to_end(2000).await;
                drop(send);
            });
        }
        most
    };
    let opened = within("the end of the flood", flood).await;
    assert_eq!(cut_off(&connection).await, misbehaved(), "after {opened} streams");
    assert!(opened > u64::from(STREAMS_FOR_NOTHING.burst), "an honest one may try {opened} times");
    world.counted("peer_streams_over_rate", 1).await;
    let offender = world.named(attacker.node()).await;
    assert!(offender.reason.contains("flood"), "{offender:?}");
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_makes_many_calls_is_no_flood() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    for _ in 0..2 * STREAMS_FOR_NOTHING.burst {
        let answer = within("an answer", call(&connection, StreamKind::Call, "honest/1", b"x")).await;
        assert_eq!(answer, Some(vec![1, b'x']));
    }
    assert!(connection.close_reason().is_none());
    assert_eq!(world.node.counter("peer_streams_over_rate").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_is_slowed_down_and_others_are_answered() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    let mut refused = 0;
    for _ in 0..1500 {
        match within("an answer", call(&connection, StreamKind::Internal, "kad/1", &[0; 4])).await {
            Some(answer) => refused += u32::from(answer.first() == Some(&0)),
            None => break,
        }
    }
    assert!(refused > 0 || connection.close_reason().is_some());
    world.is_well().await;
}
