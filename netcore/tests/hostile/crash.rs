//! What is known of peers survives `kill -9`: who is protected, who is banned, what everybody is worth, and where they
//! are.

use std::sync::Arc;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse, PeerRecord};
use polypeer_ipc_protocol::ids::NodeId;

use crate::attacker::{Attacker, control, cut_off, misbehaved};
use crate::common::{Netcore, until, within};

async fn record(netcore: &Netcore, node: NodeId) -> Option<PeerRecord> {
    match netcore.ask(AdminRequest::Peers).await {
        AdminResponse::Peers(records) => records.into_iter().find(|record| record.node == node),
        other => panic!("{other:?}"),
    }
}

/// Waits until the file says so; a process that is killed then has written it.
async fn written(netcore: &Netcore, condition: &str) {
    let path = netcore.home.path().join("peers.db");
    let query = format!("SELECT count(*) FROM peers WHERE {condition}");
    until(condition, async || {
        let database = rusqlite::Connection::open(&path).ok()?;
        database.query_row(&query, [], |row| row.get::<_, i64>(0)).ok().filter(|count| *count == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_bans_scores_and_addresses_survive_a_kill() {
    let (friend, mut node) = (Netcore::start().await, Netcore::start().await);

    let ticket = friend.ticket().await;
    let friend_id = ticket.node;
    let added = within("a connection", node.ask(AdminRequest::AddPeer { ticket, timeout_ms: 30_000 })).await;
    assert!(matches!(added, AdminResponse::Pong { .. }), "{added:?}");
    assert!(!record(&node, friend_id).await.unwrap().protected, "adding does not protect");
    let protect = AdminRequest::Protect { node: friend_id, protected: true };
    assert_eq!(node.ask(protect).await, AdminResponse::Done);

    let attacker = Attacker::new();
    let connection = attacker.link(&node.ticket().await).await;
    let _control = control(&connection, &[0xff; 8]).await;
    assert_eq!(cut_off(&connection).await, misbehaved());

    written(&node, "protected AND seen IS NOT NULL").await;
    written(&node, "banned_until > 0").await;
    node.kill().await;

    let again = Netcore::spawn(Arc::clone(&node.home), "main").await;
    assert_eq!(again.ask(AdminRequest::Start).await, AdminResponse::Done);
    let known = record(&again, friend_id).await.expect("remembered");
    assert!(known.protected, "{known:?}");
    let banned = record(&again, attacker.node()).await.expect("remembered");
    assert!(banned.banned_s.is_some_and(|left| left > 0) && banned.score < 0, "{banned:?}");
    // The protected one is dialed by itself, and the banned one is refused.
    until("the friend", async || record(&again, friend_id).await.filter(|known| known.path.is_some())).await;
    let back = attacker.dial(&again.ticket().await).await.expect("the handshake is right");
    assert_eq!(cut_off(&back).await, misbehaved());

    let unprotect = AdminRequest::Protect { node: friend_id, protected: false };
    assert_eq!(again.ask(unprotect).await, AdminResponse::Done);
    assert!(!record(&again, friend_id).await.unwrap().protected);
}
