//! Links that come in place of others and come to nothing: what this node believes about the peer ends with them.

use polypeer_ipc_protocol::admin::AdminEvent;

use crate::attacker::{Attacker, greet};
use crate::common::until;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_takes_anothers_place_and_never_says_hello_leaves_nobody_up() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let (first, node) = (attacker.link_as(&world.ticket, 1).await, attacker.node());
    let _control = greet(&first).await;
    world.node.event(&AdminEvent::PeerUp { node }).await;
    let second = attacker.link_as(&world.ticket, 2).await;
    first.closed().await;
    assert!(!world.node.events().borrow().contains(&AdminEvent::PeerDown { node }), "the second stands");
    second.close(0u32.into(), b"");
    world.node.event(&AdminEvent::PeerDown { node }).await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_settles_halfway_in_anothers_place_holds_no_place() {
    let world = World::new().await;
    // The node decides, and its word does not arrive.
    let mut attacker = Attacker::new();
    while attacker.node() < world.ticket.node {
        attacker = Attacker::new();
    }
    let first = attacker.link_as(&world.ticket, 1).await;
    let _control = greet(&first).await;
    world.node.event(&AdminEvent::PeerUp { node: attacker.node() }).await;
    attacker.take_at_most(8);
    let second = attacker.dial(&world.ticket).await.expect("the handshake is right");
    let (mut send, mut recv) = second.open_bi().await.unwrap();
    send.write_all(&2u64.to_le_bytes()).await.unwrap();
    // The window is open for the tag alone, and stays so as long as nothing is read.
    first.closed().await;
    second.closed().await;
    let _ = recv.read_exact(&mut [0; 8]).await;
    world.node.event(&AdminEvent::PeerDown { node: attacker.node() }).await;
    let free = async || {
        let status = world.node.status().await;
        let taken = status.counters.iter().find(|(name, _)| name == "places_taken").map(|(_, count)| *count);
        (taken == Some(status.connected)).then_some(())
    };
    until("the ghost's place", free).await;
    world.is_well().await;
}
