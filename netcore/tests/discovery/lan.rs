//! The local network, by multicast on loopback.

use polypeer_ipc_protocol::settings::DiscoverySettings;
use polypeer_netcore::identity::Identity;

use crate::world::{World, nothing};

/// A name that no other test uses.
fn fresh_network() -> String {
    format!("test-{:.20}", Identity::generate().node().to_string())
}

async fn nodes_find_each_other(listen: &[&str]) {
    let network = fresh_network();
    let lan = || DiscoverySettings { lan: true, ..nothing() };
    let stranger = World::start_at(listen, lan(), &format!("{network}-other")).await;
    let nodes = [
        World::start_at(listen, lan(), &network).await,
        World::start_at(listen, lan(), &network).await,
        World::start_at(listen, lan(), &network).await,
    ];
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let record = nodes[from].meets(&nodes[to]).await;
        assert!(record.sources.iter().any(|source| source == "lan" || source == "incoming"), "{record:?}");
        assert!(stranger.knows(&nodes[to]).is_none(), "another network");
    }
    for node in &nodes {
        node.until("the status tells who was found", || {
            let lan = node.source("lan");
            (lan.found >= 2 && lan.state == "working" && lan.last_success_s.is_some()).then_some(())
        })
        .await;
        assert_eq!((node.source("dns").enabled, node.source("dns").state.as_str()), (false, "off"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_loopback_find_each_other() {
    nodes_find_each_other(&["127.0.0.1:0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_off_the_local_network_finds_and_is_found_by_nobody() {
    let network = fresh_network();
    let lan = || DiscoverySettings { lan: true, ..nothing() };
    let (a, b) = (World::start(lan(), &network).await, World::start(lan(), &network).await);
    let hidden = World::start(nothing(), &network).await;
    a.meets(&b).await;
    assert!(hidden.knows(&a).is_none() && a.knows(&hidden).is_none());
    assert_eq!(hidden.source("lan").state, "off");
}
