//! Records that are forged, of others, old, or said again.

use polypeer_netcore::address::{AddressRecord, RECORD_LIFETIME};
use polypeer_netcore::identity::Identity;
use polypeer_netcore::link::wire::ControlFrame;
use polypeer_netcore::now::Now;

use crate::attacker::{Attacker, control, cut_off, frame_bytes, greet, hello, misbehaved};
use crate::common::within;
use crate::messages::nobody;
use crate::world::World;

fn record(identity: &Identity, address: &str, now: Now) -> AddressRecord {
    AddressRecord::sign(identity, vec![address.parse().unwrap()], 1, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn address_records_that_are_forged_or_of_others_are_lies() {
    let world = World::new().await;
    let now = Now::real();
    let other = Identity::generate();
    let forgeries: [(&str, &dyn Fn(&Attacker) -> AddressRecord); 6] = [
        ("moved after it was signed", &|attacker| AddressRecord {
            addresses: vec!["127.0.0.1:9".parse().unwrap()],
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("made newer after it was signed", &|attacker| AddressRecord {
            sequence: 9,
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("of another node", &|_| record(&other, "127.0.0.1:7470", now)),
        ("in the name of another", &|attacker| AddressRecord {
            node: nobody(),
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("nowhere", &|attacker| record(&attacker.identity, "0.0.0.0:7470", now)),
        ("of a zone that is not told here", &|attacker| record(&attacker.identity, "10.0.0.1:7470", now)),
    ];
    for (name, forge) in forgeries {
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let frame = ControlFrame::Record { record: forge(&attacker) };
        let _control = control(&connection, &frame_bytes(&[hello(), frame])).await;
        assert_eq!(cut_off(&connection).await, misbehaved(), "{name}");
        world.named(attacker.node()).await;
    }
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_said_again_and_again_or_long_ago_are_dropped_and_counted() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let mut stream = greet(&connection).await;
    let now = Now::real();
    let old = Now { unix: now.unix - RECORD_LIFETIME - 100, ..now };
    let old = ControlFrame::Record { record: record(&attacker.identity, "127.0.0.1:7470", old) };
    stream.write_all(&frame_bytes(&[old])).await.unwrap();
    world.counted("peer_records_dropped", 1).await;
    let same =
        frame_bytes(&vec![ControlFrame::Record { record: record(&attacker.identity, "127.0.0.1:7471", now) }; 500]);
    stream.write_all(&same).await.unwrap();
    world.counted("peer_records_dropped", 400).await;
    assert!(connection.close_reason().is_none(), "it is a nuisance and no lie");
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_a_key_it_does_not_have_is_not_let_in() {
    let world = World::new().await;
    for claimed in [nobody(), Identity::generate().node(), world.ticket.node] {
        let attacker = Attacker::pretending(claimed);
        // The client's side of the handshake is over before the node has looked at its key.
        if let Ok(connection) = attacker.dial(&world.ticket).await {
            let reason = within("the end of the connection", connection.closed()).await;
            assert!(matches!(reason, quinn::ConnectionError::ConnectionClosed(_)), "{reason}");
        }
        assert!(world.node.status().await.connected <= 2, "the honest one, and a newcomer that is going");
    }
    world.counted("handshakes_failed", 3).await;
    let named = world.node.status().await.offenders.into_iter().find(|named| named.reason.contains("handshake"));
    assert!(named.is_some_and(|named| named.node.is_none() && named.address.is_some() && named.count >= 3));
    world.is_well().await;
}
