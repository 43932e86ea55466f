//! A seed that names only nodes of its own, and peer exchange between honest nodes.

use std::net::SocketAddr;
use std::time::Instant;

use polypeer_ipc_protocol::seeds::Entry;
use polypeer_ipc_protocol::settings::{DiscoverySettings, LOW};

use crate::patience::PATIENCE;
use crate::world::{World, nothing};

fn exchanges() -> DiscoverySettings {
    DiscoverySettings { exchange: true, ..nothing() }
}

/// `count` nodes that are connected to `seed`, which has their records.
async fn around(seed: &World, count: usize, config: impl Fn() -> DiscoverySettings) -> Vec<World> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let list = vec![Entry::Ticket(seed.core.peers.ticket())];
        nodes.push(World::start(DiscoverySettings { list, ..config() }, "main").await);
    }
    for node in &nodes {
        seed.meets(node).await;
    }
    nodes
}

fn listed(address: SocketAddr) -> DiscoverySettings {
    DiscoverySettings { list: vec![Entry::Address(address)], ..exchanges() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_that_names_only_its_own_fills_half_of_the_places_until_another_is_found() {
    // As the liar's nodes dial nobody, the newcomer's peers are those it chose itself.
    let seed = World::start(exchanges(), "main").await;
    let sybils = around(&seed, LOW + 4, nothing).await;
    let newcomer = World::start(listed(seed.address()), "main").await;
    newcomer.meets(&seed).await;
    let connected = || newcomer.core.peers.connected().len();
    newcomer.until("it tells of its own", || (connected() >= LOW / 2).then_some(())).await;
    assert!(newcomer.core.services.discovery.is_unverified(&seed.id()));
    // Whatever more it is told, no more are dialed: the count is looked at for as long as a second one is being found.
    let friend = World::start(nothing(), "main").await;
    let ticket = friend.core.peers.ticket();
    assert_eq!(connected(), LOW / 2, "of {} that were named", sybils.len());
    let deadline = Instant::now() + PATIENCE;
    newcomer.core.peers.connect(friend.id(), &ticket.addresses, deadline).await.expect("the operator's peer is met");
    assert_eq!(connected(), LOW / 2 + 1);
    assert_eq!(newcomer.source("exchange").problem, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_the_operator_named_is_believed() {
    let friend = World::start(exchanges(), "main").await;
    let others = around(&friend, 5, nothing).await;
    let list = vec![Entry::Ticket(friend.core.peers.ticket())];
    let newcomer = World::start(DiscoverySettings { list, ..exchanges() }, "main").await;
    for other in &others {
        newcomer.meets(other).await;
    }
    newcomer.until("exchange works", || (newcomer.source("exchange").found == 5).then_some(())).await;
    assert!(!newcomer.core.services.discovery.is_unverified(&friend.id()));
}
