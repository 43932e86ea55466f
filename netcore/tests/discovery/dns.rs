//! DNS seeds, from a name server of this test.

use hickory_resolver::proto::op::ResponseCode;
use polypeer_ipc_protocol::settings::DiscoverySettings;

use crate::names::{Known, Names};
use crate::world::{World, nothing};

fn asks(names: &Names, seeds: &[String]) -> DiscoverySettings {
    let dns_seeds = seeds.iter().map(|seed| seed.parse().expect("a host")).collect();
    DiscoverySettings { dns_seeds, resolver: Some(names.address), ..nothing() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_tickets_of_a_name_lead_to_nodes_that_are_unverified() {
    let names = Names::start().await;
    let (stranger, friend) = (World::start(nothing(), "main").await, World::start(nothing(), "main").await);
    let other = "v=spf1 -all".to_owned();
    let texts = vec![other, friend.core.peers.ticket().to_string(), "polypeer:nonsense".into()];
    names.set("seed.test", Known::Records(vec![[127, 0, 0, 1].into()], texts));
    let seed = format!("seed.test:{}", stranger.address().port());
    let node = World::start(asks(&names, &[seed]), "main").await;
    node.meets(&stranger).await;
    node.meets(&friend).await;
    for seed in [&stranger, &friend] {
        node.until("it is unverified", || node.core.services.discovery.is_unverified(&seed.id()).then_some(())).await;
    }
    node.until("DNS works", || {
        let dns = node.source("dns");
        (dns.state == "working" && dns.found == 2 && dns.last_success_s.is_some() && dns.problem.is_none())
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_in_words() {
    let names = Names::start().await;
    names.set("broken.test", Known::Fails(ResponseCode::ServFail));
    names.set("closed.test", Known::Fails(ResponseCode::Refused));
    names.set("empty.test", Known::Records(Vec::new(), Vec::new()));
    for (name, words) in [
        ("missing.test", "there is no such name"),
        ("broken.test", "SERVFAIL"),
        ("closed.test", "refuses"),
        ("empty.test", "no A, AAAA or TXT records"),
    ] {
        let node = World::start(asks(&names, &[name.into()]), "main").await;
        let failing = || Some(node.source("dns")).filter(|dns| dns.state == "failing");
        let problem = node.until("DNS fails", failing).await.problem.expect("a problem");
        assert!(problem.contains(name) && problem.contains(words), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_that_does_not_answer_does_not_hide_the_other() {
    let names = Names::start().await;
    let seed = World::start(nothing(), "main").await;
    names.set("silent.test", Known::Silent);
    names.set("seed.test", Known::Records(vec![[127, 0, 0, 1].into()], Vec::new()));
    let seeds = ["silent.test".to_owned(), format!("seed.test:{}", seed.address().port())];
    let node = World::start(asks(&names, &seeds), "main").await;
    node.meets(&seed).await;
    let told = || Some(node.source("dns")).filter(|dns| dns.state == "working" && dns.problem.is_some());
    let problem = node.until("the other name's trouble is told", told).await.problem.expect("a problem");
    assert!(problem.starts_with("silent.test: no "), "{problem}");
}
