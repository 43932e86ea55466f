//! Nodes on loopback, over real QUIC: who gets connected to whom, who does not, and what is said about it.

#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "waiting for events serves several test programs")]

#[path = "common/events.rs"]
mod events;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use events::{PATIENCE, next, until, within};
use polypeer_ipc_protocol::admin::PeerState;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::peers::{PeerEvent, Peers, PeersConfig};
use polypeer_netcore::transport::{Choice, IDLE, Transport};
use tempfile::TempDir;

struct Node {
    peers: Peers,
    established: Arc<AtomicUsize>,
    _home: Option<TempDir>,
}

impl Node {
    async fn start_with(change: impl FnOnce(&mut PeersConfig)) -> Self {
        let home = tempfile::tempdir().expect("temporary folder");
        let mut config = PeersConfig::new(home.path().to_owned(), Arc::new(Identity::generate()));
        config.listen = vec!["127.0.0.1:0".parse().expect("address")];
        config.explicit_listen = true;
        change(&mut config);
        let established = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&established);
        let on_established = Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let peers = Peers::bind(config, on_established).await.expect("bind");
        peers.open();
        Self { peers, established, _home: Some(home) }
    }

    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    fn id(&self) -> NodeId {
        self.peers.node()
    }

    fn address(&self) -> SocketAddr {
        self.peers.transport().local_addresses()[0]
    }

    async fn connect(&self, to: &Self) -> Result<quinn::Connection, polypeer_ipc_protocol::error::Failure> {
        self.peers.connect(to.id(), &[to.address()], Instant::now() + PATIENCE).await
    }

    fn state(&self, of: &Self) -> Option<PeerState> {
        self.peers.records().into_iter().find(|record| record.node == of.id()).map(|record| record.state)
    }
}

/// Sends bytes over a new stream and checks that they come out at the other end.
async fn exchange(from: &quinn::Connection, to: &quinn::Connection) {
    let (mut send, _) = from.open_bi().await.expect("stream");
    send.write_all(b"hello").await.expect("write");
    send.finish().expect("finish");
    let (_, mut recv) = to.accept_bi().await.expect("accept");
    assert_eq!(recv.read_to_end(100).await.expect("read"), b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_get_the_one_connection_and_streams_pass() {
    let (a, b) = (Node::start().await, Node::start().await);
    let at_a = a.connect(&b).await.expect("connected");
    assert_eq!(a.established.load(Ordering::SeqCst), 1, "told before connect returned");
    until(&b.peers, "b is connected", || b.peers.connection(&a.id()).is_some()).await;
    let at_b = b.connect(&a).await.expect("the same connection");
    exchange(&at_a, &at_b).await;
    exchange(&at_b, &at_a).await;
    assert_eq!((a.established.load(Ordering::SeqCst), b.established.load(Ordering::SeqCst)), (1, 1));
    assert_eq!((a.state(&b), b.state(&a)), (Some(PeerState::Connected), Some(PeerState::Connected)));
}

#[tokio::test]
async fn another_key_at_the_address_is_refused_and_explained() {
    let (a, b, other) = (Node::start().await, Node::start().await, Node::start().await);
    let result = a.peers.connect(b.id(), &[other.address()], Instant::now() + PATIENCE).await;
    let failure = result.expect_err("somebody else answered");
    assert!(failure.is(ErrorCode::Unreachable), "{failure}");
    assert!(failure.message.contains(&other.id().to_string()), "{failure}");
    let (causes, trace) = a.peers.explain(b.id());
    assert!(causes[0].cause.contains(&other.id().to_string()), "{causes:?}");
    assert!(trace[0].contains(&other.address().to_string()), "{trace:?}");
    assert_eq!(other.established.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn unknown_peer_and_own_id_are_told_apart() {
    let a = Node::start().await;
    let deadline = Instant::now() + PATIENCE;
    let unknown = a.peers.connect(NodeId([3; 32]), &[], deadline).await.expect_err("nobody knows it");
    assert!(unknown.is(ErrorCode::UnknownPeer), "{unknown}");
    let own = a.peers.connect(a.id(), &[a.address()], deadline).await.expect_err("itself");
    assert!(own.is(ErrorCode::BadArgument), "{own}");
    let own = a.peers.block(a.id()).await.expect_err("itself");
    assert!(own.is(ErrorCode::BadArgument), "{own}");
    assert_eq!(a.peers.records().len(), 0, "nothing is remembered of it");
}

#[tokio::test]
async fn silence_is_unreachable_and_a_short_deadline_timed_out() {
    let a = Node::start().await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let hint = [silent.local_addr().expect("address")];
    let id = Identity::generate().node();
    let early = a.peers.connect(id, &hint, Instant::now() + Duration::from_millis(50)).await.expect_err("silence");
    assert!(early.is(ErrorCode::TimedOut), "{early}");
    let late = a.peers.connect(id, &hint, Instant::now() + PATIENCE).await.expect_err("silence");
    assert!(late.is(ErrorCode::Unreachable), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_changes_nothing() {
    let (a, b) = (Node::start().await, Node::start().await);
    let at_a = a.connect(&b).await.expect("connected");
    until(&b.peers, "b is connected", || b.peers.connection(&a.id()).is_some()).await;
    let noise = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let mut strange = 0;
    for number in 0..2000u32 {
        let mut datagram = vec![(number % 256) as u8; (number % 1400) as usize];
        datagram.extend(number.to_le_bytes());
        strange += u64::from(datagram[0] & 0x40 == 0);
        noise.send_to(&datagram, b.address()).expect("send");
    }
    exchange(&at_a, &b.peers.connection(&a.id()).expect("still connected")).await;
    // What was sent before it is counted, unless the socket had no room for it.
    let counters = b.peers.status().counters;
    assert!(counters.iter().any(|(_, count)| (1..=strange).contains(count)), "{counters:?}");
    let again = Node::start().await;
    again.connect(&b).await.expect("still accepts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_leave_exactly_one_connection() {
    for round in 0..100 {
        let (a, b) = (Node::start().await, Node::start().await);
        // The head start of one over the other goes through a handshake's length, forth and back.
        let head_start = Duration::from_micros(50 * (round % 30));
        let (late, early) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let second = async {
            tokio::time::sleep(head_start).await;
            late.connect(early).await
        };
        let (at_early, at_late) = tokio::join!(early.connect(late), second);
        let (at_a, at_b) = if round % 2 == 0 { (at_late, at_early) } else { (at_early, at_late) };
        let (at_a, at_b) = (at_a.expect("a connected"), at_b.expect("b connected"));
        exchange(&at_a, &at_b).await;
        exchange(&at_b, &at_a).await;
        let counts = (a.established.load(Ordering::SeqCst), b.established.load(Ordering::SeqCst));
        assert_eq!(counts, (1, 1), "round {round}");
        assert!(at_a.close_reason().is_none() && at_b.close_reason().is_none(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_connection() {
    let (a, b) = (Node::start().await, Node::start().await);
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (peers, id, address) = (a.peers.clone(), b.id(), b.address());
            tokio::spawn(async move { peers.connect(id, &[address], Instant::now() + PATIENCE).await })
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    for call in calls {
        ids.insert(call.await.expect("task").expect("connected").stable_id());
    }
    assert_eq!((ids.len(), a.established.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_peer_gets_neither_in_nor_is_it_dialed() {
    let (a, b) = (Node::start().await, Node::start().await);
    let mut events = b.peers.events();
    a.connect(&b).await.expect("connected");
    assert_eq!(next(&mut events).await, PeerEvent::Up(a.id()));
    a.peers.block(b.id()).await.expect("blocked");
    let down = next(&mut events).await;
    assert!(
        matches!(&down, PeerEvent::Down(node, failure) if *node == a.id() && failure.is(ErrorCode::Blocked)),
        "{down:?}"
    );
    let inward = b.connect(&a).await.expect_err("blocked there");
    assert!(inward.is(ErrorCode::Blocked), "{inward}");
    let outward = a.connect(&b).await.expect_err("blocked here");
    assert!(outward.is(ErrorCode::Blocked) && outward.message.contains("unblock"), "{outward}");
    assert_eq!(a.state(&b), Some(PeerState::Blocked));
    assert!(a.peers.explain(b.id()).0[0].cause.contains("blocked on this node"));
    assert!(b.peers.explain(a.id()).0[0].cause.contains("has blocked this node"));
    a.peers.unblock(b.id()).await.expect("unblocked");
    b.connect(&a).await.expect("let back in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_tells_the_peer() {
    let (a, b) = (Node::start().await, Node::start().await);
    let mut events = b.peers.events();
    a.connect(&b).await.expect("connected");
    assert_eq!(next(&mut events).await, PeerEvent::Up(a.id()));
    a.peers.close(Instant::now() + PATIENCE).await;
    let down = next(&mut events).await;
    assert!(matches!(&down, PeerEvent::Down(_, failure) if failure.is(ErrorCode::ShuttingDown)), "{down:?}");
    let refused = a.connect(&b).await.expect_err("closed");
    assert!(refused.is(ErrorCode::ShuttingDown), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembered_peer_is_dialed_again_after_a_restart_and_a_block_holds() {
    let home = tempfile::tempdir().expect("temporary folder");
    let identity = Arc::new(Identity::generate());
    let same = |config: &mut PeersConfig| {
        config.home = home.path().to_owned();
        config.identity = Arc::clone(&identity);
    };
    let (friend, foe) = (Node::start().await, Node::start().await);
    let first = Node::start_with(same).await;
    first.connect(&friend).await.expect("connected");
    first.connect(&foe).await.expect("connected");
    first.peers.block(foe.id()).await.expect("blocked");
    first.peers.close(Instant::now() + PATIENCE).await;
    drop(first);
    let second = Node::start_with(same).await;
    until(&second.peers, "the friend is dialed", || second.peers.connection(&friend.id()).is_some()).await;
    assert_eq!(second.state(&foe), Some(PeerState::Blocked));
    let refused = second.connect(&foe).await.expect_err("still blocked");
    assert!(refused.is(ErrorCode::Blocked), "{refused}");
    second.peers.forget(friend.id()).await.expect("forgotten");
    until(&second.peers, "nothing is left of it", || second.state(&friend).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_peer_replaces_its_old_connection() {
    let identity = Arc::new(Identity::generate());
    let b = Node::start().await;
    for round in 0..3 {
        let a = Node::start_with(|config| config.identity = Arc::clone(&identity)).await;
        a.connect(&b).await.expect("connected");
        until(&b.peers, "b uses the new one", || b.established.load(Ordering::SeqCst) == round + 1).await;
        let at_b = b.peers.connection(&a.id());
        until(&b.peers, "b uses it", || b.peers.connection(&a.id()).is_some_and(|it| it.close_reason().is_none()))
            .await;
        exchange(&b.peers.connection(&a.id()).or(at_b).expect("in use"), &a.connect(&b).await.expect("in use")).await;
        // Without a goodbye, as a crash would; whether any is sent nevertheless does not matter.
        drop(a);
    }
}

/// Not a test of its own: the peer that the next test kills.
#[tokio::test]
async fn helper_peer_to_be_killed() {
    let Ok(target) = std::env::var("POLYPEER_TEST_DIAL") else { return };
    let (id, address) = target.split_once('@').expect("id@address");
    let a = Node::start_with(|config| config.idle = Duration::from_secs(5)).await;
    let (id, address) = (id.parse().expect("id"), address.parse().expect("address"));
    a.peers.connect(id, &[address], Instant::now() + PATIENCE).await.expect("connected");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_peer_is_down() {
    let b = Node::start_with(|config| config.idle = Duration::from_secs(5)).await;
    let mut events = b.peers.events();
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "helper_peer_to_be_killed", "--nocapture"])
        .env("POLYPEER_TEST_DIAL", format!("{}@{}", b.id(), b.address()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("spawn");
    let up = next(&mut events).await;
    child.kill().expect("kill");
    child.wait().expect("reap");
    let PeerEvent::Up(node) = up else { panic!("it came up") };
    let down = next(&mut events).await;
    assert!(
        matches!(&down, PeerEvent::Down(who, failure) if *who == node && failure.is(ErrorCode::ConnectionLost)),
        "{down:?}"
    );
    assert!(b.peers.connection(&node).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_on_both_families_is_reached_on_each() {
    let both = |config: &mut PeersConfig| {
        config.listen.push("[::1]:0".parse().expect("address"));
    };
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return eprintln!("skipped: this machine has no IPv6");
    }
    let node = Node::start_with(both).await;
    for address in node.peers.transport().local_addresses() {
        let other = Node::start_with(both).await;
        let connection =
            other.peers.connect(node.id(), &[address], Instant::now() + PATIENCE).await.expect("connected");
        until(&node.peers, "it is known", || node.peers.connection(&other.id()).is_some()).await;
        exchange(&connection, &node.peers.connection(&other.id()).expect("connected")).await;
        let record = node.peers.records().into_iter().find(|record| record.node == other.id()).expect("known");
        let seen: SocketAddr = record.address.expect("address").parse().expect("address");
        assert_eq!(seen.is_ipv4(), address.is_ipv4());
        assert!(other.peers.transport().local_addresses().contains(&seen), "it dials from where it listens: {seen}");
    }
}

#[tokio::test]
async fn address_that_does_not_answer_delays_but_does_not_prevent() {
    let (a, b) = (Node::start().await, Node::start().await);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let hints =
        [silent, "192.0.2.1:9".parse().expect("address"), "[2001:db8::1]:9".parse().expect("address"), b.address()];
    a.peers.connect(b.id(), &hints, Instant::now() + PATIENCE).await.expect("the last one answers");
}

/// A node that does handshakes and nothing else.
fn mute(identity: &Identity) -> Transport {
    let listen = ["127.0.0.1:0".parse().expect("address")];
    let (transport, _) = Transport::bind(identity, &listen, Choice::Explicit, IDLE).expect("bind");
    transport.open();
    transport
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_who_says_nothing_after_the_handshake_is_never_a_peer() {
    let b = Node::start().await;
    let identity = Identity::generate();
    let stranger = mute(&identity);
    let link = stranger.dial(b.address(), b.id()).await.expect("handshake");
    let end = within("b ends it", link.quic.closed()).await;
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end}");
    assert_eq!(b.established.load(Ordering::SeqCst), 0);
    assert!(b.peers.connection(&identity.node()).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_never_agrees_to_a_connection_is_unreachable() {
    let a = Node::start().await;
    let identity = Identity::generate();
    let mute = mute(&identity);
    let hints = mute.local_addresses();
    let accept = async {
        let incoming = mute.incoming().await.expect("dialed");
        mute.accept(incoming).await.expect("handshake")
    };
    let connect = a.peers.connect(identity.node(), &hints, Instant::now() + PATIENCE);
    let (_link, result) = tokio::join!(accept, connect);
    let failure = result.expect_err("it never agreed");
    assert!(failure.is(ErrorCode::Unreachable), "{failure}");
    assert_eq!(a.established.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_in_the_first_words_ends_the_connection_and_nothing_else() {
    let (b, friend) = (Node::start().await, Node::start().await);
    let at_friend = friend.connect(&b).await.expect("connected");
    for words in [&b""[..], b"short", b"0123456789 and much more than a tag", &[0xff; 4096]] {
        let stranger = mute(&Identity::generate());
        let link = stranger.dial(b.address(), b.id()).await.expect("handshake");
        let (mut send, _recv) = link.quic.open_bi().await.expect("stream");
        send.write_all(words).await.ok();
        send.finish().ok();
        // Whoever decides, by the ids: either b ends it for the missing word, or keeps it and this side goes.
        link.quic.close(0u32.into(), b"");
    }
    until(&b.peers, "only the friend is left", || b.peers.status().connected == 1).await;
    exchange(&at_friend, &b.peers.connection(&friend.id()).expect("undisturbed")).await;
}
