//! Query connections: made for questions to nodes that are no peers, shared, and over soon.

use std::sync::Arc;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_netcore::wire::refusal_bytes;
use quinn::{Connection, ConnectionError};
use tokio::task::JoinSet;

use crate::patience::within;
use crate::world::{World, deadline, protocol, stranger};

/// Answers a question as nodes do that do not know its kind.
async fn refuse(connection: &Connection) {
    let (mut send, mut recv) = connection.accept_bi().await.expect("a question");
    recv.read_to_end(2000).await.expect("the whole question");
    send.write_all(&refusal_bytes(&ErrorCode::Unsupported.into())).await.expect("written");
    send.finish().expect("finished");
}

/// Waits for the end of a connection: with which code.
async fn code_at_end(connection: &Connection) -> ErrorCode {
    match within("the end of the connection", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).expect("a code");
            ErrorCode::from_number(code).expect("a known code")
        }
        other => panic!("{other}"),
    }
}

/// Asks something on a connection that no node knows: the code of the refusal.
async fn refused(connection: &Connection) -> ErrorCode {
    // The header of a call of "chat/1" between plugins, as in PROTOCOL.md.
    let call = [&[0x12, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0][..], b"chat/1", b"hi"].concat();
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&call).await.expect("written");
    let answer = within("an answer", recv.read_to_end(2000)).await.expect("an answer");
    assert_eq!(answer[0], 0, "refused");
    let code = u32::from_le_bytes(answer[3..7].try_into().unwrap());
    ErrorCode::from_number(code).expect("a known code")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_peer_is_asked_on_one_connection_that_is_let_go_when_unused() {
    let a = World::start().await;
    let (to, stranger) = stranger();
    stranger.open();
    let address = stranger.local_addresses()[0];
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let queries = Arc::clone(&a.services().queries);
        asking.spawn(async move { queries.ask(to, &[address], &protocol("future/1"), Vec::new(), deadline()).await });
    }
    let incoming = within("a connection", stranger.incoming()).await.expect("one");
    let connection = stranger.accept(incoming).await.expect("handshake").quic;
    for _ in 0..16 {
        within("a question", refuse(&connection)).await;
    }
    for asked in asking.join_all().await {
        let failure = asked.expect_err("nothing answers it");
        assert!(failure.is(ErrorCode::Unsupported), "{failure}");
    }
    assert_eq!(a.node().counters.query_connections_dialed.value(), 1, "all on the same");
    assert_eq!(a.queries(), (1, 0));
    assert_eq!(code_at_end(&connection).await, ErrorCode::Complete);
    assert_eq!(a.queries(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_becomes_no_peer_and_its_connection_is_ended_when_unused() {
    let b = World::start().await;
    let (id, stranger) = stranger();
    let connection = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
    assert_eq!(refused(&connection).await, ErrorCode::Unsupported);
    assert_eq!(b.queries(), (0, 1));
    assert!(b.core.peers.connection(&id).is_none(), "it is no peer");
    assert!(b.core.peers.records().is_empty(), "and nothing is remembered of it");
    assert_eq!(code_at_end(&connection).await, ErrorCode::Complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_node_is_refused_in_both_directions() {
    let (a, b) = (World::start().await, World::start().await);
    b.core.peers.block(a.id()).await.expect("blocked");
    let ask = async |from: &World, to: &World| {
        from.services().queries.ask(to.id(), &[to.address()], &protocol("future/1"), Vec::new(), deadline()).await
    };
    let refused = ask(&a, &b).await.expect_err("it is blocked");
    assert!(refused.is(ErrorCode::Blocked), "{refused}");
    let refused = ask(&b, &a).await.expect_err("it is blocked");
    assert!(refused.is(ErrorCode::Blocked), "{refused}");
    assert_eq!(a.queries().1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_two_connections_gets_no_third() {
    let b = World::start().await;
    let (_, stranger) = stranger();
    let mut standing = Vec::new();
    for _ in 0..2 {
        let connection = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
        // It is answered, so it was let in.
        refused(&connection).await;
        standing.push(connection);
    }
    let third = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
    assert_eq!(code_at_end(&third).await, ErrorCode::Busy);
    assert_eq!(b.node().counters.query_connections_refused.value(), 1);
    assert!(standing.iter().all(|connection| connection.close_reason().is_none()), "the others stand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_refused_and_what_breaks_a_rule_ends_the_connection() {
    let b = World::start().await;
    let (_, stranger) = stranger();
    let connection = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
    assert_eq!(refused(&connection).await, ErrorCode::Unsupported);
    let (mut send, _recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&[0xff; 300]).await.expect("written");
    assert_eq!(code_at_end(&connection).await, ErrorCode::PeerMisbehaved);
    assert_eq!(b.node().counters.peers_misbehaved.value(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_different_networks_ask_each_other_nothing() {
    let (a, b) = (World::start().await, World::start_in("other").await);
    let other = World::start_in("other").await;
    let ask = async |from: &World, to: &World| {
        let asked =
            from.services().queries.ask(to.id(), &[to.address()], &protocol("future/1"), Vec::new(), deadline()).await;
        asked.expect_err("no answer")
    };
    for (from, to) in [(&a, &b), (&b, &a)] {
        let failure = ask(from, to).await;
        assert!(failure.is(ErrorCode::Unreachable), "{failure}");
    }
    assert!(ask(&other, &b).await.is(ErrorCode::Unsupported), "nodes of one network do");
}
