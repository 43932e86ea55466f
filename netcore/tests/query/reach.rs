//! Dialing back: how a node learns where it can be reached.

use polypeer_engine::reach::wire::{Probed, Request};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::Reach;
use polypeer_netcore::clock;

use crate::patience::within;
use crate::world::{World, deadline, protocol};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_a_record_as_soon_as_a_peer_has_dialed_it_back() {
    let (a, b) = (World::start().await, World::start().await);
    assert_eq!(*a.services().reach.own().borrow(), [], "nobody has dialed it yet");
    a.connect(&b).await;
    for world in [&a, &b] {
        let own = world.own().await.remove(0);
        assert_eq!((own.node, own.addresses.as_slice()), (world.id(), [world.address()].as_slice()));
        assert_eq!(own.check(world.node().keys.as_ref(), clock::now()), Ok(()));
    }
    assert_eq!(a.core.peers.ticket().addresses, [a.address()]);
    assert_eq!(a.services().reach.reach(), Reach::Unknown, "loopback says nothing of the internet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_dials_no_other_ip_and_tells_ports_that_are_dead_from_those_that_are_not() {
    let (a, b) = (World::start().await, World::start().await);
    a.connect(&b).await;
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind").local_addr().expect("bound").port();
    // There is no way to name another IP: only ports can be asked for.
    let request = Request { ports: vec![dead, a.address().port()] };
    let asked = a.services().queries.ask(b.id(), &[], &protocol("probe/1"), request.encode(), deadline()).await;
    let probed = Probed::decode(&asked.expect("answered")).expect("an answer");
    assert_eq!(probed, Probed { observed: a.address(), reached: vec![a.address().port()] });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_for_too_many_probes_is_refused_and_counted() {
    let (a, b) = (World::start().await, World::start().await);
    a.connect(&b).await;
    let request = Request { ports: Vec::new() }.encode();
    let asking = async {
        loop {
            let asked = a.services().queries.ask(b.id(), &[], &protocol("probe/1"), request.clone(), deadline()).await;
            if let Err(refused) = asked {
                return refused;
            }
        }
    };
    let refused = within("a refusal", asking).await;
    assert!(refused.is(ErrorCode::Busy) && refused.message.contains("ask another"), "{refused}");
    assert!(b.node().counters.probes_refused_busy.value() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_is_none_ends_the_connection() {
    let (a, b) = (World::start().await, World::start().await);
    let connection = a.connect(&b).await;
    let asked = a.services().queries.ask(b.id(), &[], &protocol("probe/1"), vec![0xff; 9], deadline()).await;
    assert!(asked.is_err());
    connection.closed().await;
    assert_eq!(b.node().counters.peers_misbehaved.value(), 1);
}
