//! Each service without its grant: refused, explained and counted, whatever the network is like.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Grants, PeerScope, Validation};
use polypeer_ipc_protocol::ids::{Hash, NodeId};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};

use crate::common::{Netcore, all, name, refused};

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
