//! What the manager decides, over real QUIC on loopback: whom a node dials, lets in, lets go and refuses. The limits of
//! a place are set for this machine here, where there are usually none.

#![allow(unreachable_pub, dead_code, reason = "waiting for events serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/events.rs"]
mod events;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{PATIENCE, until, within};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::peers::watermarks::Marks;
use polypeer_engine::rate::Rate;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::peers::{Peers, PeersConfig};
use polypeer_netcore::transport::{Choice, IDLE, Transport};
use tempfile::TempDir;

struct Node {
    peers: Peers,
    _home: TempDir,
}

impl Node {
    async fn with(marks: Marks) -> Self {
        let home = TempDir::new().unwrap();
        let mut config = PeersConfig::new(home.path().to_owned(), Arc::new(Identity::generate()));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.explicit_listen = true;
        config.marks = marks;
        let peers = Peers::bind(config, Arc::new(|_| {})).await.unwrap();
        peers.open();
        Self { peers, _home: home }
    }

    async fn start() -> Self {
        Self::with(Marks::new(0, 128)).await
    }

    fn id(&self) -> NodeId {
        self.peers.node()
    }

    fn address(&self) -> SocketAddr {
        self.peers.transport().local_addresses()[0]
    }

    async fn connect(&self, to: &Self) -> Result<quinn::Connection, Failure> {
        self.peers.connect(to.id(), &[to.address()], Instant::now() + PATIENCE).await
    }

    fn connected(&self) -> u64 {
        self.peers.status().connected
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.peers.status().counters;
        counters.into_iter().find(|(found, _)| found == name).map_or(0, |(_, count)| count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_addresses_that_somebody_here_vouches_for_count_as_a_tickets() {
    let (node, named) = (Node::start().await, Node::start().await);
    let (stranger, found) = (Node::start().await, Node::start().await);
    let deadline = Instant::now() + PATIENCE;
    let came = |other: &Node| node.peers.provenance(&other.id()).map(|(source, _)| source);
    node.connect(&named).await.unwrap();
    assert_eq!(came(&named), Some(Source::Ticket));
    node.peers.connect_as(stranger.id(), &[stranger.address()], Source::Exchange, deadline).await.unwrap();
    assert_eq!(came(&stranger), Some(Source::Exchange));
    // Nobody names an address here: it is the table's word.
    node.peers.found(found.id(), &[found.address()], Source::Dht);
    node.peers.connect(found.id(), &[], deadline).await.unwrap();
    assert_eq!(came(&found), Some(Source::Dht));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_low_the_node_dials_those_it_has_heard_of_up_to_low() {
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(Node::start().await);
    }
    let node = Node::with(Marks::new(3, 10)).await;
    for other in &others {
        node.peers.found(other.id(), &[other.address()], Source::Dht);
    }
    until(&node.peers, "low is reached", || node.connected() >= 3).await;
    let lost = others.iter().position(|other| node.peers.connection(&other.id()).is_some()).unwrap();
    let gone = others.remove(lost);
    gone.peers.close(Instant::now() + PATIENCE).await;
    until(&node.peers, "another one takes its place", || {
        others.iter().filter(|other| node.peers.connection(&other.id()).is_some()).count() >= 3
    })
    .await;
    assert_eq!(node.connected(), 3, "no more than low");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_host_are_limited_and_the_refused_one_is_told() {
    let mut marks = Marks::new(0, 128);
    marks.loopback.per_host = Some(2);
    let node = Node::with(marks).await;
    let (a, b, c) = (Node::start().await, Node::start().await, Node::start().await);
    a.connect(&node).await.unwrap();
    b.connect(&node).await.unwrap();
    let refused = c.connect(&node).await.unwrap_err();
    assert!(refused.message.contains("busy"), "{refused}");
    assert_eq!((node.counter("refused_per_ip"), node.connected()), (1, 2));
    // What this node asks for itself is not refused.
    node.connect(&c).await.unwrap();
    a.peers.close(Instant::now() + PATIENCE).await;
    b.peers.close(Instant::now() + PATIENCE).await;
    until(&node.peers, "their places are free", || node.connected() == 1).await;
    let d = Node::start().await;
    d.connect(&node).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_refuses_strangers_and_lets_protected_peers_in() {
    let node = Node::with(Marks::new(0, 2)).await;
    let (a, b, friend) = (Node::start().await, Node::start().await, Node::start().await);
    a.connect(&node).await.unwrap();
    b.connect(&node).await.unwrap();
    let refused = friend.connect(&node).await.unwrap_err();
    assert!(refused.message.contains("busy"), "{refused}");
    assert!(node.counter("refused_high_water") >= 1);
    node.peers.protect(friend.id(), true).await.unwrap();
    friend.connect(&node).await.unwrap();
    let record = node.peers.records().into_iter().find(|record| record.node == friend.id()).unwrap();
    assert!(record.protected);
    assert!(node.peers.protect(node.id(), true).await.unwrap_err().is(ErrorCode::BadArgument));
    assert!(node.peers.forget(node.id()).await.unwrap_err().is(ErrorCode::BadArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_of_one_host_have_a_rate_and_who_exceeds_it_is_named() {
    let mut marks = Marks::new(0, 128);
    marks.loopback.host_rate = Some(Rate { burst: 5, per_second: 1 });
    let node = Node::with(marks).await;
    let identity = Identity::generate();
    let (flood, _) = Transport::bind(&identity, &["127.0.0.1:0".parse().unwrap()], Choice::Explicit, IDLE).unwrap();
    let mut refused = 0;
    for _ in 0..30 {
        match flood.dial(node.address(), node.id()).await {
            Ok(link) => link.quic.close(0u32.into(), b""),
            Err(_) => refused += 1,
        }
    }
    assert!(refused >= 5, "{refused}");
    assert!(node.counter("handshakes_asked_for_proof") > 0 && node.counter("refused_handshake_rate") >= refused);
    let offenders = node.peers.status().offenders;
    assert!(offenders.iter().any(|named| named.node.is_none() && named.count >= refused), "{offenders:?}");
    // It recovers. A refusal costs nothing, so that trying again does no harm.
    within("recovery", async { while flood.dial(node.address(), node.id()).await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_nobody_uses_are_let_go_and_those_in_use_stay() {
    let marks = Marks { grace: Duration::from_millis(10), idle: Duration::from_millis(300), ..Marks::new(1, 10) };
    let node = Node::with(marks).await;
    let (a, b, c) = (Node::start().await, Node::start().await, Node::start().await);
    let kept = [&a, &b].map(|other| node.peers.keep(other.id()));
    for other in [&a, &b, &c] {
        node.connect(other).await.unwrap();
    }
    until(&node.peers, "the one not in use is let go", || node.connected() == 2).await;
    assert!(node.peers.connection(&c.id()).is_none() && node.counter("let_go_unused") == 1);
    drop(kept);
    until(&node.peers, "one more is", || node.connected() == 1).await;
    // As many as low stay, and one that is asked for comes back.
    node.connect(&c).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lies_is_cut_off_named_and_refused_until_it_is_pardoned() {
    let (node, liar) = (Node::start().await, Node::start().await);
    let at_liar = liar.connect(&node).await.unwrap();
    until(&node.peers, "it is connected", || node.peers.connection(&liar.id()).is_some()).await;
    for _ in 0..2 {
        node.peers.score(liar.id(), ScoreEvent::Lie);
    }
    let end = within("the end of the connection", at_liar.closed()).await;
    let code = u64::from(ErrorCode::PeerMisbehaved.number());
    assert!(matches!(&end, quinn::ConnectionError::ApplicationClosed(c) if c.error_code.into_inner() == code), "{end}");
    let record = node.peers.records().into_iter().find(|record| record.node == liar.id()).unwrap();
    assert!(record.banned_s.is_some_and(|left| left > 0) && record.score < 0, "{record:?}");
    let named = node.peers.status().offenders.into_iter().find(|named| named.node == Some(liar.id())).unwrap();
    assert_eq!((named.reason.as_str(), named.count), ("lie", 2));
    assert!(node.connect(&liar).await.unwrap_err().is(ErrorCode::PeerMisbehaved), "in both directions");
    until(&liar.peers, "it is noticed", || liar.peers.connection(&node.id()).is_none()).await;
    liar.connect(&node).await.unwrap_err();
    assert!(node.counter("refused_banned") >= 1);
    let (causes, _) = node.peers.explain(liar.id());
    assert!(causes[0].cause.contains("banned") && causes[0].remedy.contains("unblock"), "{causes:?}");
    node.peers.unblock(liar.id()).await.unwrap();
    liar.connect(&node).await.unwrap();
}
