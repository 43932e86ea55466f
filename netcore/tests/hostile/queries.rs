//! Query connections: of nonsense, and more of them than there may be.

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_netcore::wire::StreamKind;

use crate::attacker::{Attacker, call, cut_off, header, misbehaved, stream};
use crate::common::within;
use crate::world::World;

const QUERY: &[u8] = b"polypeer-query/1";

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_a_query_connection_ends_it_and_its_maker_is_named() {
    let world = World::new().await;
    for bytes in [
        vec![0xff, 0xff],
        vec![0, 0],
        vec![4, 0, 0, 0, 0, 0],
        [header(StreamKind::Internal, "kad/1"), vec![7; 65_537]].concat(),
    ] {
        let attacker = Attacker::with(QUERY, None);
        let connection = attacker.dial(&world.ticket).await.expect("the handshake is right");
        let _kept = stream(&connection, &bytes).await;
        assert_eq!(cut_off(&connection).await, misbehaved(), "{bytes:?}");
        world.named(attacker.node()).await;
        let again = attacker.dial(&world.ticket).await.expect("the handshake is right");
        assert_eq!(cut_off(&again).await, misbehaved());
    }
    // Streams of plugins have no place there, and asking for one is no crime.
    let attacker = Attacker::with(QUERY, None);
    let connection = attacker.dial(&world.ticket).await.expect("the handshake is right");
    let refused = within("an answer", call(&connection, StreamKind::Call, "honest/1", b"hi")).await;
    assert_eq!(refused.and_then(|answer| answer.first().copied()), Some(0));
    assert!(connection.close_reason().is_none());
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn query_connections_beyond_their_number_are_refused_and_links_are_not() {
    let world = World::new().await;
    let mut kept = Vec::new();
    let mut refused = 0;
    while refused == 0 {
        let attacker = Attacker::with(QUERY, None);
        // One that is asked for its address again and again while many are under way comes later.
        if let Ok(connection) = attacker.dial(&world.ticket).await {
            kept.push((attacker, connection));
        }
        let busy = u64::from(ErrorCode::Busy.number());
        let was_refused = |connection: &quinn::Connection| matches!(connection.close_reason(), Some(quinn::ConnectionError::ApplicationClosed(close)) if close.error_code.into_inner() == busy);
        refused = kept.iter().filter(|(_, connection)| was_refused(connection)).count();
        assert!(kept.len() < 2000, "there is no limit");
    }
    world.counted("query_connections_refused", 1).await;
    world.is_well().await;
}
