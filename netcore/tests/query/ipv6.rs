//! The same over IPv6 alone: dialing back, address records, the hash table, and exchange with a node that is no peer.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use polypeer_engine::address::{AddressRecord, Zone};
use polypeer_engine::dht::Record;
use polypeer_engine::discovery::exchange::Exchange;
use polypeer_engine::reach::wire::{Probed, Request};
use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_netcore::clock;

use crate::patience::within;
use crate::world::{World, deadline, protocol};

/// So many nodes that listen on `[::1]` and nowhere else; none, with the reason printed, where there is no IPv6.
async fn nodes<const COUNT: usize>() -> Option<[World; COUNT]> {
    let here = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = UdpSocket::bind(here) {
        println!("skipped: this machine has no IPv6: {error}");
        return None;
    }
    let mut worlds = Vec::new();
    for _ in 0..COUNT {
        let world = World::start_at(here, "main").await;
        assert!(world.address().is_ipv6());
        worlds.push(world);
    }
    worlds.try_into().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_confirm_each_others_addresses() {
    let Some([a, b]) = nodes().await else { return };
    a.connect(&b).await;
    for world in [&a, &b] {
        let own = world.own().await.remove(0);
        assert_eq!((own.node, own.addresses.as_slice()), (world.id(), [world.address()].as_slice()));
        assert_eq!(own.check(world.node().keys.as_ref(), clock::now()), Ok(()));
        assert_eq!(own.zone(), Zone::Loopback);
        assert_eq!(world.core.peers.ticket().addresses, [world.address()]);
    }
    let request = Request { ports: vec![a.address().port()] };
    let asked = a.services().queries.ask(b.id(), &[], &protocol("probe/1"), request.encode(), deadline()).await;
    let probed = Probed::decode(&asked.expect("answered")).expect("an answer");
    assert_eq!(probed, Probed { observed: a.address(), reached: vec![a.address().port()] });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_end_of_a_chain_puts_the_other_finds_and_where_it_is() {
    let Some([first, middle, last]) = nodes().await else { return };
    first.connect(&middle).await;
    middle.connect(&last).await;
    for (world, neighbours) in [(&first, 1), (&middle, 2), (&last, 1)] {
        world.own().await;
        world.has_contacts(neighbours).await;
    }
    let (from, to) = (&first.services().dht, &last.services().dht);
    let value = Payload(b"over IPv6".as_slice().into());
    let record = Record::Immutable { name: "notes".parse().expect("a name"), value };
    assert!(from.put(record.clone(), deadline()).await.expect("stored") > 0);
    assert_eq!(to.get(record.key(), deadline()).await.expect("looked up"), Some(record));
    let located = to.locate(first.id(), deadline()).await.expect("looked up").expect("found");
    assert_eq!(located.addresses, [first.address()]);
    assert!(first.core.peers.connection(&last.id()).is_none(), "they did not become peers for it");

    // Somebody who is no peer asks the one in the middle, which by now knows both.
    let Some([stranger]) = nodes().await else { return };
    let question = Exchange::question(8);
    let (at, exchange) = ([middle.address()], protocol("exchange/1"));
    let asked = stranger.services().queries.ask(middle.id(), &at, &exchange, question, deadline());
    let reply = within("an answer", asked).await.expect("answered");
    let records: Vec<AddressRecord> = codec::decode(&reply).expect("records");
    let mut told: Vec<_> = records.iter().map(|record| (record.node, record.addresses.clone())).collect();
    told.sort();
    let mut expected = [&first, &last].map(|world| (world.id(), vec![world.address()]));
    expected.sort();
    assert_eq!(told, expected);
}
