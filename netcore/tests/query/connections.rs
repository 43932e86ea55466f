//! Query connections: made for questions to nodes that are no peers, shared, and over soon.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::query;
use polypeer_netcore::transport::{Choice, Transport};
use tokio::task::JoinSet;

use crate::world::{World, deadline, protocol, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_peer_is_asked_on_one_connection_that_ends_by_itself() {
    let (a, b) = (World::start().await, World::start().await);
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let (node, to, address) = (Arc::clone(a.node()), b.id(), b.address());
        asking.spawn(
            async move { query::ask(&node, to, &[address], &protocol("future/1"), Vec::new(), deadline()).await },
        );
    }
    for asked in asking.join_all().await {
        let failure = asked.expect_err("nothing answers it");
        assert!(failure.is(ErrorCode::Unsupported), "{failure}");
    }
    assert_eq!(a.node().counters.query_connections_dialed.value(), 1, "all on the same");
    assert_eq!((a.queries().0, b.queries().1), (1, 1));
    assert!(b.core.peers.connection(&a.id()).is_none(), "it is no peer");
    assert!(b.core.peers.records().is_empty(), "and nothing is remembered of it");
    until("the end of it", async || (a.queries().0 == 0 && b.queries().1 == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_node_is_refused_in_both_directions() {
    let (a, b) = (World::start().await, World::start().await);
    b.core.peers.block(a.id()).await.expect("blocked");
    let ask = async |from: &World, to: &World| {
        query::ask(from.node(), to.id(), &[to.address()], &protocol("future/1"), Vec::new(), deadline()).await
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
    let identity = Identity::generate();
    let stranger =
        Transport::bind(&identity, &["127.0.0.1:0".parse().unwrap()], Choice::Explicit, Duration::from_secs(5));
    let (stranger, _) = stranger.expect("bind");
    let mut standing = Vec::new();
    for _ in 0..2 {
        standing.push(stranger.dial_query(b.address(), b.id()).await.expect("handshake"));
        let count = standing.len();
        until("it is let in", async || (b.queries().1 == count).then_some(())).await;
    }
    let third = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
    let quinn::ConnectionError::ApplicationClosed(close) = third.closed().await else { panic!("it had to be refused") };
    assert_eq!(close.error_code, quinn::VarInt::from_u32(ErrorCode::Busy.number()));
    assert_eq!(b.node().counters.query_connections_refused.value(), 1);
    assert!(standing.iter().all(|connection| connection.close_reason().is_none()), "the others stand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_refused_and_what_breaks_a_rule_ends_the_connection() {
    let b = World::start().await;
    let identity = Identity::generate();
    let stranger =
        Transport::bind(&identity, &["127.0.0.1:0".parse().unwrap()], Choice::Explicit, Duration::from_secs(5));
    let (stranger, _) = stranger.expect("bind");
    let connection = stranger.dial_query(b.address(), b.id()).await.expect("handshake");
    // The header of a call of "chat/1" between plugins, as in PROTOCOL.md.
    let call = [&[0x12, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0][..], b"chat/1", b"hi"].concat();
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&call).await.expect("written");
    let answer = recv.read_to_end(2000).await.expect("an answer");
    assert_eq!(answer[0], 0, "refused");
    assert_eq!(u32::from_le_bytes(answer[3..7].try_into().unwrap()), ErrorCode::Unsupported.number());
    let (mut send, _recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&[0xff; 300]).await.expect("written");
    let quinn::ConnectionError::ApplicationClosed(close) = connection.closed().await else { panic!("it had to end") };
    assert_eq!(close.error_code, quinn::VarInt::from_u32(ErrorCode::PeerMisbehaved.number()));
    assert_eq!(b.node().counters.peers_misbehaved.value(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_different_networks_ask_each_other_nothing() {
    let (a, b) = (World::start().await, World::start_in("other").await);
    let other = World::start_in("other").await;
    let ask = async |from: &World, to: &World| {
        let asked =
            query::ask(from.node(), to.id(), &[to.address()], &protocol("future/1"), Vec::new(), deadline()).await;
        asked.expect_err("no answer")
    };
    for (from, to) in [(&a, &b), (&b, &a)] {
        let failure = ask(from, to).await;
        assert!(failure.is(ErrorCode::Unreachable), "{failure}");
    }
    assert!(ask(&other, &b).await.is(ErrorCode::Unsupported), "nodes of one network do");
}
