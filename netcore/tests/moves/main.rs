//! One side of a connection changes its address while bytes flow, as when a NAT forgets a mapping or a laptop changes
//! networks: the connection stays the same, and so does everything on it.

#![allow(unreachable_pub, dead_code, reason = "a test program has no users")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/events.rs"]
mod events;
mod nat;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use events::{PATIENCE, next, within};
use nat::Nat;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::peers::{PeerEvent, Peers, PeersConfig};
use quinn::{Connection, RecvStream, SendStream};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

struct Node {
    peers: Peers,
    established: Arc<AtomicUsize>,
    _home: TempDir,
}

impl Node {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let mut config = PeersConfig::new(home.path().to_owned(), Arc::new(Identity::generate()));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.explicit_listen = true;
        let established = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&established);
        let on_established = Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let peers = Peers::bind(config, on_established).await.unwrap();
        peers.open();
        Self { peers, established, _home: home }
    }

    fn id(&self) -> NodeId {
        self.peers.node()
    }

    fn address(&self) -> SocketAddr {
        self.peers.transport().local_addresses()[0]
    }

    fn address_of(&self, peer: &Self) -> Option<String> {
        self.peers.records().into_iter().find(|record| record.node == peer.id())?.address
    }
}

/// Two nodes with a NAT between them, connected, with a stream open.
struct World {
    dialer: Node,
    acceptor: Node,
    nat: Nat,
    at_dialer: Connection,
    at_acceptor: Connection,
    near: (SendStream, RecvStream),
    far: (SendStream, RecvStream),
    /// What happened at either since they are connected.
    events: [Receiver<PeerEvent>; 2],
}

impl World {
    async fn new() -> Self {
        let (dialer, acceptor) = (Node::start().await, Node::start().await);
        let nat = Nat::to(acceptor.address()).await;
        let mut events = [&dialer, &acceptor].map(|node| node.peers.events());
        let deadline = Instant::now() + PATIENCE;
        let at_dialer = dialer.peers.connect(acceptor.id(), &[nat.inner()], deadline).await.unwrap();
        for (events, other) in events.iter_mut().zip([&acceptor, &dialer]) {
            assert_eq!(next(events).await, PeerEvent::Up(other.id()));
        }
        let at_acceptor = acceptor.peers.connection(&dialer.id()).unwrap();
        let mut near = at_dialer.open_bi().await.unwrap();
        near.0.write_all(b"!").await.unwrap();
        let mut far = within("the stream", at_acceptor.accept_bi()).await.unwrap();
        far.1.read_exact(&mut [0]).await.unwrap();
        Self { dialer, acceptor, nat, at_dialer, at_acceptor, near, far, events }
    }

    /// Bytes pass in both directions on the stream that was open before.
    async fn passes(&mut self) {
        let there = async {
            self.near.0.write_all(&[1; 50_000]).await.unwrap();
            self.far.1.read_exact(&mut [0; 50_000]).await.unwrap();
        };
        within("bytes from the dialer", there).await;
        let back = async {
            self.far.0.write_all(&[2; 50_000]).await.unwrap();
            self.near.1.read_exact(&mut [0; 50_000]).await.unwrap();
        };
        within("bytes from the acceptor", back).await;
    }

    /// Nothing was lost, and nobody connected anew.
    fn is_the_same(&mut self) {
        assert!(self.at_dialer.close_reason().is_none() && self.at_acceptor.close_reason().is_none());
        let established = [&self.dialer, &self.acceptor].map(|node| node.established.load(Ordering::SeqCst));
        assert_eq!(established, [1, 1]);
        assert!(self.events.iter_mut().all(|events| events.try_recv().is_err()), "something happened");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialer_changes_its_address() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world.passes().await;
        let before = world.nat.outer();
        world.nat.change_outer().await;
        assert_ne!(world.nat.outer(), before);
        world.passes().await;
        assert_eq!(
            world.acceptor.address_of(&world.dialer),
            Some(world.nat.outer().to_string()),
            "the new one is told"
        );
    }
    world.is_the_same();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acceptor_changes_its_address() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world.passes().await;
        let before = world.nat.inner();
        world.nat.change_inner().await;
        assert_ne!(world.nat.inner(), before);
        // Whatever it sends first, if only a sign of life, says where it is now.
        world.far.0.write_all(&[3; 1000]).await.unwrap();
        within("bytes from elsewhere", world.near.1.read_exact(&mut [0; 1000])).await.unwrap();
        world.passes().await;
        assert_eq!(
            world.dialer.address_of(&world.acceptor),
            Some(world.nat.inner().to_string()),
            "the new one is told"
        );
    }
    world.is_the_same();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_acceptor_that_moved_is_found_by_its_next_sign_of_life() {
    let mut world = World::new().await;
    world.passes().await;
    world.nat.change_inner().await;
    world.passes().await;
    world.is_the_same();
}
