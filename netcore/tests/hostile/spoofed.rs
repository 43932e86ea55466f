//! Packets from an address that nobody has proved to be at: QUIC follows them, and nothing is sent to others because of
//! it.

use polypeer_netcore::wire::{ACCEPTED, REFUSED, StreamKind};

use crate::attacker::{Attacker, call, greet};
use crate::common::{until, within};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_on_a_link_is_not_dialed_where_it_has_moved_to() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    // A question without further ports: the address that the packets come from is dialed.
    let question = 0u64.to_le_bytes();
    let answer = within("an answer", call(&connection, StreamKind::Internal, "probe/1", &question)).await;
    assert_eq!(answer.and_then(|answer| answer.first().copied()), Some(ACCEPTED));
    attacker.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
    until("a refusal", async || {
        let answer = call(&connection, StreamKind::Internal, "probe/1", &question).await.expect("an answer");
        (answer.first() == Some(&REFUSED)).then_some(())
    })
    .await;
    assert!(connection.close_reason().is_none(), "it may move");
    world.is_well().await;
}
