//! Nodes that have no place for a newcomer: it gets into the network by what they tell.

use std::net::SocketAddr;
use std::time::Instant;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::discovery::exchange::Exchange;
use polypeer_engine::peers::watermarks::Marks;
use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings, PeerSettings};
use polypeer_netcore::discovery::EXCHANGE;
use polypeer_netcore::peers::PeerEvent;
use polypeer_netcore::{Core, Options};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::names::{Known, Names};
use crate::patience::{PATIENCE, within};
use crate::world::nothing;

/// A node in `home`, open.
async fn start(home: &TempDir, discovery: DiscoverySettings, peers: PeerSettings) -> Core {
    let listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let settings = NetSettings { listen, discovery, peers, ..NetSettings::default() };
    let (core, _) = Core::bind(Options::new(home.path().to_owned()), settings).await.expect("bound");
    core.open();
    core
}

fn home() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn exchanges() -> DiscoverySettings {
    DiscoverySettings { exchange: true, ..nothing() }
}

/// A seed that has one place for others.
async fn seed(home: &TempDir) -> Core {
    let peers = PeerSettings { low: Some(1), high: Some(1) };
    assert_eq!(Marks::configured(false, &peers).incoming(), 1);
    start(home, exchanges(), peers).await
}

fn address(core: &Core) -> SocketAddr {
    core.peers.transport().local_addresses()[0]
}

/// Waits for an event that `found` gives something for.
async fn event<T>(events: &mut Receiver<PeerEvent>, what: &str, found: impl Fn(PeerEvent) -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = found(events.recv().await.expect("events are read in time")) {
                return found;
            }
        }
    })
    .await
}

fn up(of: NodeId) -> impl Fn(PeerEvent) -> Option<()> {
    move |event| (event == PeerEvent::Up(of)).then_some(())
}

/// Links `friend` to `seed`, which takes its last place, and waits until the seed tells others of it.
async fn take_the_place(seed: &Core, friend: &Core) {
    let deadline = Instant::now() + PATIENCE;
    friend.peers.connect(seed.node.id, &[address(seed)], deadline).await.expect("there is a place");
    let mut own = friend.services.reach.own();
    within("an own record", own.wait_for(|records| !records.is_empty())).await.expect("the driver runs");
    within("the seed tells of it", async {
        // One that asked has to wait a minute: others ask.
        while !told_a_stranger(seed).await.contains(&friend.node.id) {}
    })
    .await;
}

async fn told_a_stranger(seed: &Core) -> Vec<NodeId> {
    let home = home();
    let stranger = start(&home, nothing(), PeerSettings::default()).await;
    let protocol = EXCHANGE.parse().expect("a protocol");
    let (question, deadline) = (Exchange::question(8), Instant::now() + PATIENCE);
    let asked = stranger.services.queries.ask(seed.node.id, &[address(seed)], &protocol, question, deadline).await;
    // A seed has room for so many query connections.
    stranger.peers.close(deadline).await;
    let records: Vec<AddressRecord> = codec::decode(&asked.expect("a full node answers")).expect("records");
    records.into_iter().map(|record| record.node).collect()
}

/// `newcomer` is refused by `seed` and links `friend`, whom nobody but the seed can have told it of.
async fn gets_in(newcomer: &Core, seed: &Core, friend: &Core) {
    let mut events = newcomer.peers.events();
    if newcomer.peers.connection(&friend.node.id).is_none() {
        event(&mut events, "the newcomer meets the seed's friend", up(friend.node.id)).await;
    }
    assert!(newcomer.peers.connection(&seed.node.id).is_none(), "the seed is full");
    assert!(newcomer.node.counters.full_nodes_asked.value() >= 1);
    let sources = newcomer.services.discovery.sources();
    let exchange = sources.iter().find(|source| source.name == "exchange").expect("every source is listed");
    assert_eq!(exchange.found, 1, "{exchange:?}");
    let refused = seed.peers.status().counters.into_iter().find(|(name, _)| name == "refused_high_water");
    assert!(refused.is_some_and(|(_, count)| count >= 1), "the seed refused it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_that_a_full_dns_seed_refuses_asks_it_and_links_another_node() {
    let homes = [home(), home(), home()];
    let seed = seed(&homes[0]).await;
    let friend = start(&homes[1], nothing(), PeerSettings::default()).await;
    take_the_place(&seed, &friend).await;
    let names = Names::start().await;
    names.set("seed.test", Known::Records(vec![[127, 0, 0, 1].into()], Vec::new()));
    let name = format!("seed.test:{}", address(&seed).port()).parse().expect("a host");
    let asks = DiscoverySettings { dns_seeds: vec![name], resolver: Some(names.address), ..exchanges() };
    let newcomer = start(&homes[2], asks, PeerSettings::default()).await;
    gets_in(&newcomer, &seed, &friend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_whose_only_remembered_peer_is_full_by_now_asks_it_and_links_another_node() {
    let homes = [home(), home(), home()];
    let seed = seed(&homes[0]).await;
    let newcomer = start(&homes[2], nothing(), PeerSettings::default()).await;
    let (id, mut at_seed) = (newcomer.node.id, seed.peers.events());
    let deadline = Instant::now() + PATIENCE;
    newcomer.peers.connect(seed.node.id, &[address(&seed)], deadline).await.expect("there is a place");
    // One that is gone before it said Hello was never there.
    event(&mut at_seed, "the seed has the newcomer", up(id)).await;
    newcomer.peers.close(deadline).await;
    drop(newcomer);
    let gone = |event| matches!(event, PeerEvent::Down(node, _) if node == id).then_some(());
    event(&mut at_seed, "the place is free", gone).await;
    let friend = start(&homes[1], nothing(), PeerSettings::default()).await;
    take_the_place(&seed, &friend).await;
    let newcomer =
        start(&homes[2], DiscoverySettings { remembered: true, ..exchanges() }, PeerSettings::default()).await;
    assert_eq!(newcomer.node.id, id);
    gets_in(&newcomer, &seed, &friend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_exchanges_nothing_does_not_ask_a_full_seed_either() {
    let homes = [home(), home(), home()];
    let seed = seed(&homes[0]).await;
    let friend = start(&homes[1], nothing(), PeerSettings::default()).await;
    take_the_place(&seed, &friend).await;
    let newcomer = start(&homes[2], nothing(), PeerSettings::default()).await;
    let mut events = newcomer.peers.events();
    let deadline = Instant::now() + PATIENCE;
    newcomer.peers.connect(seed.node.id, &[address(&seed)], deadline).await.expect_err("the seed is full");
    let full = |event| matches!(event, PeerEvent::Full { node, .. } if node == seed.node.id).then_some(());
    event(&mut events, "it is told so", full).await;
    assert_eq!(newcomer.node.counters.full_nodes_asked.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_a_node_that_is_blocked() {
    let homes = [home(), home()];
    let seed = seed(&homes[0]).await;
    let friend = start(&homes[1], nothing(), PeerSettings::default()).await;
    take_the_place(&seed, &friend).await;
    seed.peers.block(friend.node.id).await.expect("blocked");
    within("the seed tells of it no more", async { while told_a_stranger(&seed).await.contains(&friend.node.id) {} })
        .await;
}
