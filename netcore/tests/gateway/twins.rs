//! Two nodes with one identity, as after a home was copied: both are told.

use std::sync::Arc;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use tempfile::TempDir;

use crate::common::{Netcore, until};

async fn warning(node: &Netcore) -> Option<String> {
    node.status().await.warnings.into_iter().find(|text| text.contains("identity"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_identity_that_take_each_others_connections_are_both_warned() {
    let (one, third) = (Netcore::start().await, Netcore::start().await);
    let copy = Arc::new(TempDir::new().unwrap());
    std::fs::copy(one.home.path().join("identity.key"), copy.path().join("identity.key")).unwrap();
    let two = Netcore::spawn(copy, "main").await;
    assert_eq!(two.ask(AdminRequest::Start).await, AdminResponse::Done);
    assert_eq!(one.ticket().await.node, two.ticket().await.node);
    let ticket = third.ticket().await;
    for _ in 0..3 {
        for node in [&one, &two] {
            let added = node.ask(AdminRequest::AddPeer { ticket: ticket.clone(), timeout_ms: 60_000 }).await;
            assert!(matches!(added, AdminResponse::Pong { .. }), "{added:?}");
        }
        until("the connection to be taken", async || (one.status().await.connected == 0).then_some(())).await;
    }
    for node in [&one, &two] {
        let text = until("a warning", async || warning(node).await).await;
        // Both have a single peer, which is one source.
        assert!(text.contains("another node may run with this node's identity"), "{text}");
    }
    assert_eq!(warning(&third).await, None);
}
