//! The hash table between real network cores, through the handle that plugins' requests use.

use polypeer_engine::address::Zone;
use polypeer_engine::dht::{Ask, Key, Record, Request, Response};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::Name;

use crate::world::{World, deadline, protocol, stranger};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A chain of three: the ends are no peers of each other.
async fn chain() -> [World; 3] {
    let worlds = [World::start().await, World::start().await, World::start().await];
    worlds[0].connect(&worlds[1]).await;
    worlds[1].connect(&worlds[2]).await;
    for (world, neighbours) in worlds.iter().zip([1, 2, 1]) {
        world.own().await;
        world.has_contacts(neighbours).await;
    }
    worlds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_end_of_a_chain_puts_and_provides_the_other_end_finds() {
    let worlds = chain().await;
    let (first, last) = (&worlds[0].services().dht, &worlds[2].services().dht);
    let record = Record::Immutable { name: name("notes"), value: Payload(b"hello".as_slice().into()) };
    let copies = first.put(record.clone(), deadline()).await.expect("stored");
    assert!(copies > 0, "{copies} copies");
    assert_eq!(last.get(record.key(), deadline()).await.expect("looked up"), Some(record));
    let missing = Key::of_provided(&name("nothing"));
    assert_eq!(last.get(missing, deadline()).await.expect("looked up"), None);

    let key = Key::of_provided(&name("files"));
    assert!(first.provide(key, deadline()).await.expect("listed") > 0);
    let providers = last.providers(key, 16, deadline()).await.expect("looked up");
    assert_eq!(providers.iter().map(|record| record.node).collect::<Vec<_>>(), [worlds[0].id()]);

    let located = last.locate(worlds[0].id(), deadline()).await.expect("looked up").expect("found");
    assert_eq!(located.addresses, [worlds[0].address()]);
    assert!(worlds[0].core.peers.connection(&worlds[2].id()).is_none(), "they did not become peers for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_nobody_has_dialed_back_is_answered_and_is_in_no_table() {
    let [a, b, c] = chain().await;
    let (id, client) = stranger();
    let connection = client.dial_query(b.address(), b.id()).await.expect("handshake");
    let request = Request { ask: Ask::FindNode { target: Key::of_node(id) }, from: None };
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    let header = [&[0x11, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0][..], b"kad/1"].concat();
    send.write_all(&[header, request.encode()].concat()).await.expect("written");
    send.finish().expect("finished");
    let answer = recv.read_to_end(1 << 16).await.expect("an answer");
    let Ok(Response::Nodes { contacts }) = Response::decode(&answer[1..]) else { panic!("{answer:02x?}") };
    let told: Vec<_> = contacts.iter().map(|contact| contact.node).collect();
    assert!(told.contains(&a.id()) && told.contains(&c.id()), "those that serve");
    let known = b.services().dht.neighbours(Zone::Loopback).await;
    assert!(!told.contains(&id) && known.iter().all(|contact| contact.node != id), "and not the one that asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_anybody_says_what_to_do_and_nonsense_ends_the_connection() {
    let (alone, b) = (World::start().await, World::start().await);
    let failure = alone.services().dht.get(Key([1; 32]), deadline()).await.expect_err("nobody to ask");
    assert!(failure.is(ErrorCode::Unreachable) && failure.message.contains("polypeer peers add"), "{failure}");
    let connection = alone.connect(&b).await;
    let asked = alone.services().queries.ask(b.id(), &[], &protocol("kad/1"), vec![1, 2, 3], deadline()).await;
    assert!(asked.is_err());
    connection.closed().await;
    assert_eq!(b.node().counters.peers_misbehaved.value(), 1);
}
