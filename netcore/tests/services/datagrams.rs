//! Datagrams between plugins of two nodes.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Event, Grants, Payload, PeerScope, Request, Response};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_LISTENERS};
use polypeer_netcore::limits::{DATAGRAM_BACKLOG, EVENT_BACKLOG};

use crate::common::{Deaf, Netcore, Plugin, all, bytes, connected, protocol, refused, regrant, until};

fn datagram(from: &Plugin, name: &str, payload: &[u8]) -> Event {
    let payload = Payload(payload.to_vec().into());
    Event::Datagram { node: from.client.node_id(), protocol: protocol(name), payload }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_arrive_at_the_one_session_that_receives_their_protocol() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    let (voice, peer) = (protocol("voice/1"), far.client.node_id());
    refused(near.client.send_datagram(peer, voice.clone(), &b"?"[..]), ErrorCode::Unreachable).await;
    connected(&one, &two).await;

    far.client.receive_datagrams(voice.clone(), true).await.unwrap();
    far.client.receive_datagrams(voice.clone(), true).await.unwrap();
    let other = two.plugin("other", all()).await;
    refused(other.client.receive_datagrams(voice.clone(), true), ErrorCode::AlreadyServed).await;
    let largest = bytes(1, MAX_DATAGRAM);
    for payload in [&b""[..], b"hi", &largest] {
        near.client.send_datagram(peer, voice.clone(), payload.to_vec()).await.unwrap();
        assert_eq!(far.event().await, datagram(&near, "voice/1", payload));
    }
    let over = near.client.send_datagram(peer, voice.clone(), vec![0; MAX_DATAGRAM + 1]);
    refused(over, ErrorCode::TooLarge).await;

    // Payload bytes are counted to the plugins on both sides, and nothing else of them.
    for (netcore, plugin, sent, received) in [(&one, "near", 1026, 0), (&two, "far", 0, 1026)] {
        let AdminResponse::Traffic(traffic) = netcore.ask(AdminRequest::Traffic).await else { panic!("not traffic") };
        let traffic = traffic.into_iter().find(|traffic| traffic.plugin.as_str() == plugin).unwrap();
        assert_eq!((traffic.sent_bytes, traffic.received_bytes), (sent, received), "{plugin}");
    }

    // Nobody receives it: dropped and counted, and nothing happens to those who do receive.
    near.client.send_datagram(peer, protocol("other/1"), &b"?"[..]).await.unwrap();
    until("the drop to be counted", async || (two.counter("datagrams_unwanted").await == 1).then_some(())).await;
    far.client.receive_datagrams(voice.clone(), false).await.unwrap();
    far.client.receive_datagrams(voice.clone(), false).await.unwrap();
    other.client.receive_datagrams(voice, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_need_their_grants_and_end_with_them() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    connected(&one, &two).await;
    let mut near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    let (voice, peer) = (protocol("voice/1"), far.client.node_id());

    let none = one.plugin("none", Grants::default()).await;
    refused(none.client.send_datagram(peer, voice.clone(), &b""[..]), ErrorCode::NotGranted).await;
    refused(none.client.receive_datagrams(voice.clone(), true), ErrorCode::NotGranted).await;
    let stranger = PeerScope::List(vec![NodeId([9; 32])]);
    let narrow = one.plugin("narrow", Grants { peers: stranger.clone(), ..all() }).await;
    refused(narrow.client.send_datagram(peer, voice.clone(), &b""[..]), ErrorCode::PeerNotAllowed).await;

    // A peer that the receiver may not deal with is not heard.
    far.client.receive_datagrams(voice.clone(), true).await.unwrap();
    regrant(&two, &mut far, Grants { peers: stranger, ..all() }).await;
    near.client.send_datagram(peer, voice.clone(), &b"?"[..]).await.unwrap();
    until("the drop to be counted", async || (two.counter("datagrams_unwanted").await == 1).then_some(())).await;

    // Without the grant `serve` the protocol is free for another plugin at once.
    regrant(&two, &mut far, Grants { serve: vec!["chat/*".parse().unwrap()], ..all() }).await;
    let mut heir = two.plugin("heir", all()).await;
    heir.client.receive_datagrams(voice.clone(), true).await.unwrap();
    near.client.send_datagram(peer, voice.clone(), &b"now"[..]).await.unwrap();
    assert_eq!(heir.event().await, datagram(&near, "voice/1", b"now"));

    // And back, from the side that was dialed.
    near.client.receive_datagrams(voice.clone(), true).await.unwrap();
    heir.client.send_datagram(near.client.node_id(), voice, &b"back"[..]).await.unwrap();
    assert_eq!(near.event().await, datagram(&heir, "voice/1", b"back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_does_not_read_loses_datagrams_and_nothing_else() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    connected(&one, &two).await;
    let near = one.plugin("near", all()).await;
    let far = two.launch("far", all()).await;
    let mut deaf = Deaf::connect(&far).await;
    for number in 0..=MAX_LISTENERS {
        let request = Request::ReceiveDatagrams { protocol: protocol(&format!("p{number}/1")), on: true };
        let done = deaf.ask(request).await == Response::Done;
        assert_eq!(done, number < MAX_LISTENERS, "{number} of {MAX_LISTENERS}");
    }
    let peer = two.ticket().await.node;
    let payload = bytes(3, MAX_DATAGRAM);
    // What the sockets between take, and then what netcore keeps.
    let mut sent = 0;
    until("a datagram to be dropped", async || {
        for _ in 0..64 {
            match near.client.send_datagram(peer, protocol("p0/1"), payload.clone()).await {
                Ok(()) => sent += 1,
                Err(error) => assert!(error.failure().is(ErrorCode::Busy), "{error}"),
            }
        }
        (two.counter("datagrams_unread").await > 0).then_some(())
    })
    .await;
    assert!(sent * MAX_DATAGRAM >= DATAGRAM_BACKLOG, "{sent}");

    // There is room for others, and for the plugin itself.
    let mut other = two.plugin("other", all()).await;
    other.client.receive_datagrams(protocol("voice/1"), true).await.unwrap();
    until("a datagram past the deaf plugin", async || {
        near.client.send_datagram(peer, protocol("voice/1"), &b"hi"[..]).await.ok()
    })
    .await;
    assert_eq!(other.event().await, datagram(&near, "voice/1", b"hi"));
    let (datagrams, dropped) = deaf.drain().await;
    assert!(dropped > 0 && datagrams > 0, "{datagrams} came, {dropped} were dropped");
    assert!(datagrams * (MAX_DATAGRAM + 100) < EVENT_BACKLOG + (4 << 20), "{datagrams} were kept");
}
