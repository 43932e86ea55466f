//! Seeds without node ids: from a name server of this test, from the list, from Mainline.

use mainline::Testnet;
use polypeer_ipc_protocol::seeds::Entry;
use polypeer_ipc_protocol::settings::{DiscoverySettings, MainlineSettings};

use crate::world::{World, nothing, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_address_leads_to_whoever_is_there_and_a_listed_ticket_to_its_node() {
    let (stranger, friend) = (World::start(nothing(), "main").await, World::start(nothing(), "main").await);
    let list = vec![
        Entry::Address(stranger.address()),
        Entry::Ticket(friend.core.peers.ticket()),
        "127.0.0.1:9".parse().expect("an entry"), // the discard port: nobody is there
    ];
    let node = World::start(DiscoverySettings { list, ..nothing() }, "main").await;
    node.meets(&stranger).await;
    node.meets(&friend).await;
    node.until("the list works", || {
        let list = node.source("list");
        (list.found == 2 && list.state == "working").then_some(())
    })
    .await;
    node.until("the stranger is marked", || node.core.services.discovery.is_unverified(&stranger.id()).then_some(()))
        .await;
    assert!(!node.core.services.discovery.is_unverified(&friend.id()), "the operator named it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_that_leads_nowhere_says_so() {
    let list = vec!["127.0.0.1:9".parse().expect("an entry")];
    let node = World::start(DiscoverySettings { list, ..nothing() }, "main").await;
    let problem = node.until("the list fails", || node.source("list").problem).await;
    assert!(problem.contains("127.0.0.1:9"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_with_no_other_source_meet_through_mainline() {
    let testnet = tokio::task::spawn_blocking(|| Testnet::builder(5).build()).await.expect("built").expect("bound");
    let bootstrap: Vec<_> = testnet.bootstrap.iter().map(|node| node.parse().expect("a host")).collect();
    let mainline = || {
        let mainline = MainlineSettings { enabled: true, port: 0, bootstrap: bootstrap.clone() };
        DiscoverySettings { mainline, ..nothing() }
    };
    let first = World::start(mainline(), "main").await;
    let second = World::start(mainline(), "main").await;
    second.meets(&first).await;
    let found = || [&first, &second].iter().map(|node| node.source("mainline").found).sum::<u64>();
    until(&[&first, &second], "Mainline works", || (found() > 0).then_some(())).await;
    let unverified = || {
        second.core.services.discovery.is_unverified(&first.id())
            || first.core.services.discovery.is_unverified(&second.id())
    };
    until(&[&first, &second], "the one that was found is marked", || unverified().then_some(())).await;
}
