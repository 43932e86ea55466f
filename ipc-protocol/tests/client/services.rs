//! The client's gossip, records, datagrams and network events.

use std::time::Duration;

use polypeer_ipc_protocol::client::{Client, Message, Stored, Subscription};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Event, Payload, Request, Response, TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_GOSSIP, MAX_VALUE};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::ticket::Ticket;

use crate::world::{Session, World, protocol};

const NODE: NodeId = NodeId([8; 32]);
const HASH: Hash = Hash([3; 32]);

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn message(topic: &str, number: u8) -> Event {
    Event::Message { topic: name(topic), message: Hash([number; 32]), author: NODE, payload: vec![number].into() }
}

/// The client's request, and its result for this response.
async fn asked<T>(session: &mut Session, asking: impl Future<Output = T>, response: Response) -> (Request, T) {
    let (result, request) = tokio::join!(asking, async {
        let (id, request) = session.request().await;
        session.respond(id, response).await;
        request
    });
    (request, result)
}

async fn subscribed(client: &Client, session: &mut Session, topic: &str, validation: Validation) -> Subscription {
    let (request, subscription) = asked(session, client.subscribe(name(topic), validation), Response::Done).await;
    assert_eq!(request, Request::Subscribe { topic: name(topic), validation });
    subscription.expect("subscribed")
}

#[tokio::test]
async fn messages_come_to_the_subscription_of_their_topic() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    let mut news = subscribed(&client, &mut session, "news", Validation::Plugin).await;
    let mut chat = subscribed(&client, &mut session, "chat", Validation::Signature).await;
    for event in [message("chat", 1), message("news", 2), message("other", 3)] {
        session.event(event).await;
    }
    let second = Message { id: Hash([2; 32]), author: NODE, payload: vec![2].into() };
    assert_eq!(news.next().await.as_ref(), Some(&second));
    assert_eq!(chat.next().await.map(|message| message.payload), Some(vec![1].into()));
    assert_eq!(events.next().await, Some(message("other", 3)), "of a topic without a subscription here");

    let (request, judged) = asked(&mut session, news.judge(&second, Verdict::Reject), Response::Done).await;
    assert_eq!(request, Request::Judge { topic: name("news"), message: second.id, verdict: Verdict::Reject });
    judged.expect("judged");
    let info = TopicInfo { neighbours: 1, delivered: 2, duplicates: 3, dropped: 4, pulled: 5 };
    let (request, told) = asked(&mut session, news.info(), Response::Topic(info.clone())).await;
    assert_eq!((request, told.expect("told")), (Request::Topic { topic: name("news") }, info));
    let (request, published) =
        asked(&mut session, client.publish(name("news"), "hi"), Response::Published { message: HASH, peers: 6 }).await;
    assert_eq!(request, Request::Publish { topic: name("news"), payload: Payload("hi".into()) });
    assert_eq!(published.expect("published"), (HASH, 6));
}

#[tokio::test]
async fn dropped_subscription_ends_and_a_newer_one_does_not() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let mut old = subscribed(&client, &mut session, "news", Validation::Signature).await;
    let mut new = subscribed(&client, &mut session, "news", Validation::Plugin).await;
    assert_eq!(old.next().await, None, "its topic was taken");
    drop(old);
    session.event(message("news", 1)).await;
    assert!(new.next().await.is_some());
    drop(new);
    let (id, request) = session.request().await;
    assert_eq!(request, Request::Unsubscribe { topic: name("news") });
    session.respond(id, Response::Done).await;

    let (_, refused) = asked(
        &mut session,
        client.subscribe(name("news"), Validation::Signature),
        Response::Failed(ErrorCode::NotGranted.into()),
    )
    .await;
    assert!(refused.expect_err("refused").failure().is(ErrorCode::NotGranted));
}

#[tokio::test]
async fn ending_a_subscription_leaves_a_newer_one_alone() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let old = subscribed(&client, &mut session, "news", Validation::Signature).await;
    let mut new = subscribed(&client, &mut session, "news", Validation::Signature).await;
    old.end().await.expect("it has ended already, and nothing is asked");
    session.event(message("news", 1)).await;
    assert!(new.next().await.is_some());
    let (request, ended) = asked(&mut session, new.end(), Response::Done).await;
    assert_eq!(request, Request::Unsubscribe { topic: name("news") });
    ended.expect("ended");
    // Once: the handle is gone now, and says nothing more.
    let (request, pinged) = asked(&mut session, client.ping(), Response::Done).await;
    assert_eq!(request, Request::Ping);
    pinged.expect("answered");
}

#[tokio::test]
async fn messages_nobody_takes_are_counted_and_do_not_hold_up_others() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    let mut slow = subscribed(&client, &mut session, "slow", Validation::Signature).await;
    for number in 0..=256_u16 {
        session.event(message("slow", number as u8)).await;
    }
    session.event(message("other", 1)).await;
    assert_eq!(events.next().await, Some(message("other", 1)));
    assert_eq!(events.next().await, Some(Event::Dropped { count: 1 }));
    for number in 0..=255_u8 {
        assert_eq!(slow.next().await.map(|message| message.id), Some(Hash([number; 32])));
    }
}

#[tokio::test]
async fn records_are_put_and_found() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let session = &mut session;
    let (motd, second) = (name("motd"), Some(Duration::from_secs(1)));
    let stored = Response::Stored { key: HASH, sequence: 4, copies: 5 };
    let expected = Stored { key: HASH, sequence: 4, copies: 5 };
    let value = Payload("hello".into());

    let (request, result) = asked(session, client.put_immutable(motd.clone(), "hello", second), stored.clone()).await;
    assert_eq!(result.expect("stored"), expected);
    assert_eq!(request, Request::PutImmutable { name: motd.clone(), value: value.clone(), timeout_ms: 1000 });
    let found = Response::Value(Some(value.clone()));
    let (request, result) = asked(session, client.get_immutable(motd.clone(), HASH, None), found).await;
    assert_eq!(result.expect("asked"), Some("hello".into()));
    assert_eq!(request, Request::GetImmutable { name: motd.clone(), hash: HASH, timeout_ms: 0 });

    let hour = Some(Duration::from_secs(3600));
    let (request, result) = asked(session, client.put_own(motd.clone(), "hello", hour, None), stored.clone()).await;
    assert_eq!(result.expect("stored"), expected);
    assert_eq!(request, Request::PutOwn { name: motd.clone(), value: value.clone(), lifetime_s: 3600, timeout_ms: 0 });

    let signature = Signature([1; 64]);
    let record = SignedRecord { key: NODE, name: motd.clone(), sequence: 1, expires: 2, value, signature };
    let (request, result) = asked(session, client.put_signed(record.clone(), None), stored.clone()).await;
    assert_eq!(result.expect("stored"), expected);
    assert_eq!(request, Request::PutSigned { record: record.clone(), timeout_ms: 0 });
    let found = Response::Record(Some(record.clone()));
    let (request, result) = asked(session, client.get_signed(NODE, motd.clone(), second), found).await;
    assert_eq!(result.expect("asked"), Some(record));
    assert_eq!(request, Request::GetSigned { key: NODE, name: motd.clone(), timeout_ms: 1000 });

    let (request, result) = asked(session, client.provide(motd.clone(), None), stored).await;
    assert_eq!(result.expect("stored"), expected);
    assert_eq!(request, Request::Provide { name: motd.clone(), timeout_ms: 0 });
    let (request, result) = asked(session, client.unprovide(motd.clone()), Response::Done).await;
    result.expect("ended");
    assert_eq!(request, Request::Unprovide { name: motd.clone() });
    let found = Response::Providers(vec![NODE]);
    let (request, result) = asked(session, client.find_providers(motd.clone(), 9, None), found).await;
    assert_eq!(result.expect("asked"), [NODE]);
    assert_eq!(request, Request::FindProviders { name: motd, limit: 9, timeout_ms: 0 });
    let ticket = Ticket { node: NODE, addresses: vec![] };
    let (request, result) = asked(session, client.find_peer(NODE, None), Response::Found(ticket.clone())).await;
    assert_eq!(result.expect("asked"), ticket);
    assert_eq!(request, Request::FindPeer { node: NODE, timeout_ms: 0 });
}

#[tokio::test]
async fn datagrams_and_network_events_are_asked_for() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    let session = &mut session;
    let (request, sent) = asked(session, client.send_datagram(NODE, protocol(), "hi"), Response::Done).await;
    sent.expect("sent");
    assert_eq!(request, Request::SendDatagram { node: NODE, protocol: protocol(), payload: Payload("hi".into()) });
    let (request, done) = asked(session, client.receive_datagrams(protocol(), true), Response::Done).await;
    done.expect("done");
    assert_eq!(request, Request::ReceiveDatagrams { protocol: protocol(), on: true });
    let (request, done) = asked(session, client.watch_network(true), Response::Done).await;
    done.expect("done");
    assert_eq!(request, Request::WatchNetwork { on: true });
    let datagram = Event::Datagram { node: NODE, protocol: protocol(), payload: Payload("ho".into()) };
    session.event(datagram.clone()).await;
    assert_eq!(events.next().await, Some(datagram));
}

#[tokio::test]
async fn what_is_over_its_limit_fails_alone() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let big = |limit: usize| vec![0; limit + 1];
    let signature = Signature([1; 64]);
    let value = Payload(big(MAX_VALUE).into());
    let record = SignedRecord { key: NODE, name: name("a"), sequence: 1, expires: 2, value, signature };
    for error in [
        client.publish(name("a"), big(MAX_GOSSIP)).await.expect_err("a message"),
        client.put_immutable(name("a"), big(MAX_VALUE), None).await.expect_err("a value"),
        client.put_own(name("a"), big(MAX_VALUE), None, None).await.expect_err("a value"),
        client.put_signed(record, None).await.expect_err("a record"),
        client.send_datagram(NODE, protocol(), big(MAX_DATAGRAM)).await.expect_err("a datagram"),
    ] {
        assert!(error.failure().is(ErrorCode::TooLarge), "{error}");
    }
    let (request, sent) =
        asked(&mut session, client.send_datagram(NODE, protocol(), vec![0; MAX_DATAGRAM]), Response::Done).await;
    assert!(sent.is_ok() && matches!(request, Request::SendDatagram { .. }));
}
