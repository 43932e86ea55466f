//! Mainline between two processes: the DHT is a small one of this test's, on loopback, and nothing else tells one of
//! the other.

use mainline::Testnet;
use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::seeds::Host;
use polypeer_ipc_protocol::settings::{DiscoverySettings, MainlineSettings};

use super::{record, start};
use crate::common::until;

fn mainline(port: u16, bootstrap: Vec<Host>) -> DiscoverySettings {
    let mainline = MainlineSettings { enabled: true, port, bootstrap };
    DiscoverySettings { mainline, ..DiscoverySettings::none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_no_other_source_meet_through_mainline() {
    let testnet = tokio::task::spawn_blocking(|| Testnet::builder(5).build()).await.unwrap().unwrap();
    let bootstrap: Vec<_> = testnet.bootstrap.iter().map(|node| node.parse().unwrap()).collect();
    let first = start(&[], mainline(0, bootstrap.clone())).await;
    let second = start(&[], mainline(0, bootstrap)).await;
    let ids = [first.ticket().await.node, second.ticket().await.node];
    first.event(&AdminEvent::PeerUp { node: ids[1] }).await;
    second.event(&AdminEvent::PeerUp { node: ids[0] }).await;

    // One of them found the other, whoever announced itself first; nobody vouches for whom it found.
    let mut found = 0;
    for (node, other) in [(&first, ids[1]), (&second, ids[0])] {
        let status = node.status().await;
        let of_mainline = status.sources.iter().find(|source| source.name == "mainline").unwrap();
        assert!(of_mainline.enabled && status.sources.iter().filter(|source| source.enabled).count() == 1);
        assert!(status.warnings.iter().any(|warning| warning.contains("Mainline")), "{:?}", status.warnings);
        if of_mainline.found > 0 {
            found += 1;
            let record = record(node, other).await;
            assert!(record.sources.iter().any(|source| source == "mainline"), "{record:?}");
        }
    }
    assert!(found > 0, "they met otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_cannot_use_mainline_is_not_said_to_be_listed_there() {
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let node = start(&[], mainline(port, vec!["127.0.0.1:9".parse().unwrap()])).await;
    let failing = async || {
        let status = node.status().await;
        let source = status.sources.iter().find(|source| source.name == "mainline")?;
        (source.state == "failing").then_some(status)
    };
    let warnings = until("the failure", failing).await.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("as soon as it works")), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains("is listed")), "{warnings:?}");
}
