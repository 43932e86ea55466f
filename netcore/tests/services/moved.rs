//! A peer changes its address: the plugin that watches the network is told, and its stream goes on.

use polypeer_ipc_protocol::gateway::{CallMode, Event, NetworkChange, Path, Scope, Target};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Netcore, Plugin, all, protocol, stream_between, within};
use crate::nat::Nat;

/// Waits until `plugin` is told that packets to `peer` go elsewhere. It may hear of its own node's addresses meanwhile,
/// of nothing else.
async fn told_of_move(plugin: &mut Plugin, peer: NodeId) {
    loop {
        match plugin.event().await {
            Event::Network(NetworkChange::Path { node, path }) => {
                return assert_eq!((node, path), (peer, Path::Direct));
            }
            Event::Network(NetworkChange::Addresses(_) | NetworkChange::Reach(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_told_when_a_peer_moves_and_their_stream_goes_on() {
    let (dialer, acceptor) = (Netcore::start().await, Netcore::start().await);
    let (at_dialer, at_acceptor) = (dialer.ticket().await.node, acceptor.ticket().await);
    let mut nat = Nat::to(at_acceptor.addresses[0]).await;
    let mut near = dialer.plugin("near", all()).await;
    let mut far = acceptor.plugin("far", all()).await;
    far.client.listen(protocol("moves/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let target = Target::Ticket(Ticket { node: at_acceptor.node, addresses: vec![nat.inner()] });
    let (mut opened, mut accepted) = stream_between(&near, &mut far, target, "moves/1").await;
    near.client.watch_network(true).await.unwrap();
    far.client.watch_network(true).await.unwrap();

    let mut bytes = [0; 50_000];
    let begun = [near.client.peers().await.unwrap(), far.client.peers().await.unwrap()];
    for round in 0..2u8 {
        nat.change_outer().await;
        within("bytes of a dialer that moved", async {
            opened.write_all(&[round; 50_000]).await.unwrap();
            accepted.read_exact(&mut bytes).await.unwrap();
        })
        .await;
        assert!(bytes.iter().all(|byte| *byte == round));
        told_of_move(&mut far, at_dialer).await;

        nat.change_inner().await;
        within("bytes of an acceptor that moved", async {
            accepted.write_all(&[round; 50_000]).await.unwrap();
            opened.read_exact(&mut bytes).await.unwrap();
        })
        .await;
        told_of_move(&mut near, at_acceptor.node).await;
    }
    // It is the same connection: each has stood since before the first move.
    for (plugin, before) in [&near, &far].into_iter().zip(begun) {
        let now = plugin.client.peers().await.unwrap();
        assert_eq!((now.len(), before.len()), (1, 1));
        assert!(now[0].connected_ms >= before[0].connected_ms, "{now:?} after {before:?}");
    }
}
