//! What plugins are told of the network.

use polypeer_ipc_protocol::gateway::{Event, Grants, NetworkChange, PeerScope, Reach};
use polypeer_ipc_protocol::ticket::Ticket;

use crate::common::{Netcore, Plugin, all, connected, until};

/// The event that has arrived, if one has.
async fn arrived(plugin: &mut Plugin) -> Option<Event> {
    tokio::select! {
        biased;
        event = plugin.events.next() => event,
        () = std::future::ready(()) => None,
    }
}

/// What a plugin is told that begins to watch.
async fn state(plugin: &mut Plugin) -> (Reach, Ticket) {
    plugin.client.watch_network(true).await.unwrap();
    match [plugin.event().await, plugin.event().await] {
        [Event::Network(NetworkChange::Reach(reach)), Event::Network(NetworkChange::Addresses(ticket))] => {
            (reach, ticket)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_watch_learns_how_the_network_is() {
    let node = Netcore::start().await;
    let ticket = node.ticket().await;
    // Also one that comes long after the node found out, and one that asks again.
    for name in ["early", "late"] {
        let mut plugin = node.plugin(name, all()).await;
        for _ in 0..2 {
            assert_eq!(state(&mut plugin).await, (Reach::Unknown, ticket.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_watch_learns_first_which_peers_are_up() {
    let (node, far) = (Netcore::start().await, Netcore::start().await);
    connected(&far, &node).await;
    let far_id = far.ticket().await.node;
    let mut plugin = node.plugin("watcher", all()).await;
    for _ in 0..2 {
        plugin.client.watch_peers(true).await.unwrap();
        // It is there when the request is answered.
        let event = arrived(&mut plugin).await;
        assert!(matches!(&event, Some(Event::PeerUp(info)) if info.node == far_id), "{event:?}");
    }
    let hidden = Grants { peers: PeerScope::List(Vec::new()), ..all() };
    let mut blind = node.plugin("blind", hidden).await;
    blind.client.watch_peers(true).await.unwrap();
    assert!(arrived(&mut blind).await.is_none(), "it may not see the peer");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_network_are_told_to_those_who_watch() {
    let node = Netcore::start().await;
    let mut watcher = node.plugin("watcher", all()).await;
    let mut other = node.plugin("other", all()).await;
    state(&mut watcher).await;
    state(&mut other).await;
    other.client.watch_network(false).await.unwrap();
    let far = Netcore::start().await;
    connected(&far, &node).await;
    // Peers dial it back; on one machine that makes no reach from the internet, but nothing else may be said either.
    let ticket = node.ticket().await;
    until("a quiet network", async || (node.counter("dht_contacts").await > 0).then_some(())).await;
    tokio::select! {
        biased;
        event = watcher.events.next() => match event {
            Some(Event::Network(NetworkChange::Addresses(told))) => assert_eq!(told.node, ticket.node),
            Some(Event::Network(NetworkChange::Reach(reach))) => assert_ne!(reach, Reach::Private),
            event => panic!("{event:?}"),
        },
        answer = watcher.client.ping() => answer.unwrap(),
    }
    tokio::select! {
        biased;
        event = other.events.next() => panic!("it does not watch, but {event:?}"),
        answer = other.client.ping() => answer.unwrap(),
    }
}
