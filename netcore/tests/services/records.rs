//! Records, providers and lookups between nodes that keep the hash table together.

use std::time::Duration;

use polypeer_engine::keys::Keys;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::Stored;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Grants, Payload, PeerScope};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::{MAX_RECORD_LIFETIME, MAX_VALUE};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_netcore::clock;
use polypeer_netcore::identity::Identity;

use crate::common::{Netcore, Plugin, all, bytes, connected, name, protocol, refused, regrant, until};

/// So many nodes, each of which knows all others and can be dialed by them.
async fn table(count: usize) -> Vec<(Netcore, Plugin)> {
    let mut nodes: Vec<(Netcore, Plugin)> = Vec::new();
    for number in 0..count {
        let node = Netcore::start().await;
        for (other, _) in &nodes {
            connected(&node, other).await;
        }
        let plugin = node.plugin(&format!("p{number}"), all()).await;
        nodes.push((node, plugin));
    }
    for (node, _) in &nodes {
        until("the others in the table", async || {
            (node.counter("dht_contacts").await >= count as u64 - 1).then_some(())
        })
        .await;
    }
    nodes
}

fn signed(owner: &Identity, sequence: u64, value: &[u8], expires: u64) -> SignedRecord {
    let value = Payload(value.to_vec().into());
    let (key, signature) = (owner.node(), Signature([0; 64]));
    let mut record = SignedRecord { key, name: name("chat/motd"), sequence, expires, value, signature };
    record.signature = Keys::sign(owner, &record.signed_bytes());
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn own_records_put_at_once_are_all_stored_and_the_last_one_stays() {
    let nodes = table(3).await;
    let (near, far, motd) = (&nodes[0].1.client, &nodes[2].1.client, name("chat/motd"));
    near.put_own(motd.clone(), b"first".as_slice(), None, None).await.unwrap();
    let put = |number: u8| Box::pin(near.put_own(motd.clone(), vec![number], None, None));
    let mut puts: Vec<_> = (0..20).map(put).collect();
    // All are sent, in this order, before one is answered.
    std::future::poll_fn(|context| {
        puts.iter_mut().for_each(|put| assert!(put.as_mut().poll(context).is_pending()));
        std::task::Poll::Ready(())
    })
    .await;
    for (number, put) in puts.into_iter().enumerate() {
        put.await.unwrap_or_else(|error| panic!("put {number}: {error}"));
    }
    let last = far.get_signed(near.node_id(), motd, None).await.unwrap().expect("it is stored");
    assert_eq!(last.value.0[..], [19]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_puts_the_others_find() {
    let nodes = table(4).await;
    let clients: Vec<_> = nodes.iter().map(|(_, plugin)| &plugin.client).collect();
    let (near, far, files) = (clients[0], clients[3], name("files/a"));

    // Immutable.
    let value = bytes(5, MAX_VALUE);
    let Stored { key: hash, sequence, copies } = near.put_immutable(files.clone(), value.clone(), None).await.unwrap();
    assert!(sequence == 0 && copies >= 1, "{copies}");
    assert_eq!(far.get_immutable(files.clone(), hash, None).await.unwrap().as_deref(), Some(&value[..]));
    assert_eq!(far.get_immutable(name("files/b"), hash, None).await.unwrap(), None, "another name");

    // The node's own: each one takes the place of the one before.
    let motd = name("chat/motd");
    let first = near.put_own(motd.clone(), &b"one"[..], None, None).await.unwrap();
    let second = near.put_own(motd.clone(), &b"two"[..], Some(Duration::from_secs(60)), None).await.unwrap();
    assert!(second.sequence > first.sequence && second.key == first.key);
    let found = far.get_signed(near.node_id(), motd.clone(), None).await.unwrap().expect("found");
    assert_eq!((&found.value.0[..], found.sequence, found.key), (&b"two"[..], second.sequence, near.node_id()));
    assert!(found.expires <= clock::now().unix + 61);
    assert_eq!(far.get_signed(NodeId([5; 32]), motd.clone(), None).await.unwrap(), None);

    // A plugin's own key; what is not signed by it is refused before it is sent.
    let (owner, soon) = (Identity::generate(), clock::now().unix + 600);
    near.put_signed(signed(&owner, 7, b"seven", soon), None).await.unwrap();
    let found = far.get_signed(owner.node(), motd.clone(), None).await.unwrap().expect("found");
    assert_eq!(found, signed(&owner, 7, b"seven", soon));
    let forged = SignedRecord { sequence: 8, ..signed(&owner, 7, b"seven", soon) };
    let late = signed(&owner, 9, b"late", clock::now().unix - 1);
    let long = signed(&owner, 9, b"long", clock::now().unix + 2 * u64::from(MAX_RECORD_LIFETIME));
    for wrong in [forged, late, long] {
        refused(far.put_signed(wrong, None), ErrorCode::BadArgument).await;
    }
    let over = far.put_immutable(files, bytes(1, MAX_VALUE + 1), None);
    refused(over, ErrorCode::TooLarge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_is_found_and_dialed_until_its_session_ends() {
    let nodes = table(3).await;
    let (near, far) = (&nodes[0].1, &nodes[2].1);
    let song = name("files/song");
    assert_eq!(far.client.find_providers(song.clone(), 0, None).await.unwrap(), []);
    let (again, stored) = (nodes[0].0.plugin("again", all()).await, near.client.provide(song.clone(), None).await);
    assert!(stored.unwrap().copies >= 1);
    again.client.provide(song.clone(), None).await.unwrap();
    let found = far.client.find_providers(song.clone(), 0, None).await.unwrap();
    assert_eq!(found, [near.client.node_id()]);
    let hurried = far.client.find_providers(song.clone(), 64, Some(Duration::from_millis(1))).await;
    assert!(hurried.unwrap().len() <= 1, "those found by then are the answer");
    refused(far.client.unprovide(song.clone()), ErrorCode::BadArgument).await;

    // Only those that the plugin may deal with.
    let shy = nodes[2].0.plugin("shy", Grants { peers: PeerScope::List(vec![]), ..all() }).await;
    assert_eq!(shy.client.find_providers(song.clone(), 0, None).await.unwrap(), []);

    // Two sessions provide it: it goes on when one of them has ended.
    near.client.unprovide(song.clone()).await.unwrap();
    refused(near.client.unprovide(song.clone()), ErrorCode::BadArgument).await;
    again.client.unprovide(song.clone()).await.unwrap();
    near.client.provide(song.clone(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_is_found_at_once_by_a_node_that_was_restarted_and_lists_nobody_any_more() {
    let mut nodes = table(2).await;
    let song = name("files/song");
    for (_, plugin) in &nodes {
        plugin.client.provide(song.clone(), None).await.unwrap();
    }
    let found = nodes[0].1.client.find_providers(song.clone(), 0, None).await.unwrap();
    assert_eq!(found, [nodes[1].1.client.node_id()], "and not itself");
    // It kept the other's listing in memory alone, and the other says it again only after 40 minutes.
    let (mut core, plugin) = nodes.remove(0);
    core.kill().await;
    drop(plugin);
    let core = Netcore::spawn(core.home.clone(), "main").await;
    assert_eq!(core.ask(AdminRequest::Start).await, AdminResponse::Done);
    connected(&core, &nodes[0].0).await;
    let plugin = core.plugin("again", all()).await;
    until("the other in the table", async || (core.counter("dht_contacts").await >= 1).then_some(())).await;
    assert_eq!(plugin.client.find_providers(song.clone(), 0, None).await.unwrap(), [nodes[0].1.client.node_id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_is_found_by_what_it_signed() {
    let nodes = table(3).await;
    let (one, two) = (&nodes[0].1.client, &nodes[1].1.client);
    let found = one.find_peer(two.node_id(), None).await.unwrap();
    assert_eq!(found.node, two.node_id());
    let ticket = nodes[1].0.ticket().await;
    assert!(found.addresses.iter().all(|address| ticket.addresses.contains(address)), "{found} in {ticket}");
    let nobody = NodeId([3; 32]);
    refused(one.find_peer(nobody, None), ErrorCode::UnknownPeer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_it_says_so_and_a_lost_grant_ends_what_is_under_way() {
    let node = Netcore::start().await;
    let mut plugin = node.plugin("lone", all()).await;
    let failure = refused(plugin.client.put_own(name("a"), &b"x"[..], None, None), ErrorCode::Unreachable).await;
    assert!(failure.message.contains("polypeer"), "{failure}");
    // It is listed as soon as somebody can dial this node.
    assert_eq!(plugin.client.provide(name("a"), None).await.unwrap().copies, 0);
    plugin.client.unprovide(name("a")).await.unwrap();
    refused(plugin.client.find_peer(NodeId([3; 32]), None), ErrorCode::Unreachable).await;
    regrant(&node, &mut plugin, Grants { dht: vec![], ..all() }).await;
    refused(plugin.client.provide(name("a"), None), ErrorCode::NotGranted).await;
    plugin.client.receive_datagrams(protocol("voice/1"), true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provided_name_is_given_up_with_its_grant() {
    let mut nodes = table(2).await;
    let song = name("files/song");
    let (node, plugin) = &mut nodes[0];
    plugin.client.provide(song.clone(), None).await.unwrap();
    regrant(node, plugin, Grants { dht: vec!["other/*".parse().unwrap()], ..all() }).await;
    refused(plugin.client.unprovide(song.clone()), ErrorCode::BadArgument).await;
    regrant(node, plugin, all()).await;
    plugin.client.provide(song.clone(), None).await.unwrap();
    plugin.client.unprovide(song).await.unwrap();
}
