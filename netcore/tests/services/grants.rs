//! Each service without its grant: refused, explained and counted, whatever the network is like.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Event, Grants, PeerScope, Validation};
use polypeer_ipc_protocol::ids::{Hash, NodeId};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};

use crate::common::{Netcore, Plugin, all, connected, name, refused, regrant, until};

const SOMEBODY: NodeId = NodeId([9; 32]);

#[tokio::test(flavor = "multi_thread")]
async fn without_its_grant_each_service_is_refused_and_explained() {
    let node = Netcore::start().await;
    // Everything but what the request needs, and names that the grants do not include.
    let grants = Grants {
        topics: vec!["chat/*".parse().unwrap()],
        dht: vec!["chat/*".parse().unwrap()],
        peers: PeerScope::List(vec![]),
        ..all()
    };
    let plugin = node.plugin("narrow", grants).await;
    let (client, news) = (&plugin.client, name("news"));
    let record = SignedRecord {
        key: SOMEBODY,
        name: news.clone(),
        sequence: 1,
        expires: u64::MAX,
        value: vec![].into(),
        signature: Signature([0; 64]),
    };
    let not_granted = ErrorCode::NotGranted;
    let failures = [
        refused(client.publish(news.clone(), &b""[..]), not_granted).await,
        refused(client.subscribe(news.clone(), Validation::Signature), not_granted).await,
        refused(client.put_immutable(news.clone(), &b""[..], None), not_granted).await,
        refused(client.get_immutable(news.clone(), Hash([1; 32]), None), not_granted).await,
        refused(client.put_own(news.clone(), &b""[..], None, None), not_granted).await,
        refused(client.put_signed(record, None), not_granted).await,
        refused(client.get_signed(SOMEBODY, news.clone(), None), not_granted).await,
        refused(client.provide(news.clone(), None), not_granted).await,
        refused(client.find_providers(news.clone(), 0, None), not_granted).await,
    ];
    for failure in failures {
        assert!(failure.message.contains("polypeer plugin grants narrow"), "{failure}");
    }
    refused(client.find_peer(SOMEBODY, None), ErrorCode::PeerNotAllowed).await;
    let AdminResponse::Traffic(traffic) = node.ask(AdminRequest::Traffic).await else { panic!("not traffic") };
    assert_eq!(traffic[0].refused, 10);

    // What was not granted was not begun, and there is nothing to end.
    refused(client.unprovide(news.clone()), ErrorCode::BadArgument).await;
    refused(
        client.put_own(name("chat/a"), &b""[..], Some(std::time::Duration::from_secs(86_401)), None),
        ErrorCode::BadArgument,
    )
    .await;
    refused(client.find_peer(client.node_id(), None), ErrorCode::BadArgument).await;
    client.watch_network(true).await.unwrap();
}

/// Changes a plugin's grants: the one event that comes with `GrantsChanged`, before or after it.
async fn beside_grants(netcore: &Netcore, plugin: &mut Plugin, grants: Grants) -> Event {
    let request = AdminRequest::SetGrants { plugin: plugin.launch.id.clone(), grants: grants.clone() };
    assert_eq!(netcore.ask(request).await, AdminResponse::Done);
    match [plugin.event().await, plugin.event().await] {
        [Event::GrantsChanged(told), event] | [event, Event::GrantsChanged(told)] if told == grants => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_a_change_of_grants_shows_or_hides_is_told_to_who_watches() {
    let (node, far) = (Netcore::start().await, Netcore::start().await);
    let seeing = |peers: Vec<NodeId>| Grants { peers: PeerScope::List(peers), ..all() };
    let mut watcher = node.plugin("watcher", seeing(vec![])).await;
    let mut other = node.plugin("other", seeing(vec![])).await;
    let witness = node.plugin("witness", all()).await;
    connected(&node, &far).await;
    until("the link", async || (!witness.client.peers().await.unwrap().is_empty()).then_some(())).await;
    watcher.client.watch_peers(true).await.unwrap();
    let far = far.ticket().await.node;
    let event = beside_grants(&node, &mut watcher, seeing(vec![far, SOMEBODY])).await;
    assert!(matches!(event, Event::PeerUp(info) if info.node == far), "it is connected");
    regrant(&node, &mut watcher, seeing(vec![far])).await;
    let event = beside_grants(&node, &mut watcher, seeing(vec![])).await;
    let Event::PeerDown { node: gone, failure } = event else { panic!("{event:?}") };
    assert!(gone == far && failure.is(ErrorCode::PeerNotAllowed), "{failure}");
    // Nothing is told to one that does not watch.
    regrant(&node, &mut other, seeing(vec![far])).await;
    regrant(&node, &mut other, seeing(vec![])).await;
}
