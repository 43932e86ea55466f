//! Gossip between plugins of several nodes.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::{Client, Message, Subscription};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Event, Grants, PeerScope, Request, Response, Validation, Verdict};
use polypeer_ipc_protocol::limits::{MAX_GOSSIP, MAX_TOPICS};
use polypeer_netcore::limits::MESSAGE_BACKLOG;

use crate::common::{Deaf, Netcore, Plugin, all, bytes, connected, name, refused, regrant, until, within};

async fn subscribe(plugin: &Plugin, topic: &str, validation: Validation) -> Subscription {
    within("a subscription", plugin.client.subscribe(name(topic), validation)).await.expect("subscribed")
}

async fn next(subscription: &mut Subscription) -> Message {
    within("a message", subscription.next()).await.expect("the subscription stands")
}

/// Publishes until a neighbour is sent it at once, and gives it to all of `readers`: then the topic is joined up.
async fn join(publisher: &Client, topic: &str, readers: &mut [&mut Subscription]) {
    until("a neighbour in the topic", async || {
        let (_, peers) = publisher.publish(name(topic), &b"join"[..]).await.expect("published");
        (peers > 0).then_some(())
    })
    .await;
    for reader in readers {
        assert_eq!(next(reader).await.payload, b"join"[..]);
    }
}

/// The next message that is not one of [`join`]'s.
async fn next_real(subscription: &mut Subscription) -> Message {
    loop {
        let message = next(subscription).await;
        if message.payload != b"join"[..] {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_reaches_every_subscriber_once_and_the_publishers_own_session_never() {
    let (one, two, three) = (Netcore::start().await, Netcore::start().await, Netcore::start().await);
    connected(&one, &two).await;
    connected(&two, &three).await;
    let (a, b, c) =
        (one.plugin("first", all()).await, two.plugin("second", all()).await, three.plugin("third", all()).await);
    let beside = one.plugin("beside", all()).await;
    let mut at_a = subscribe(&a, "news", Validation::Signature).await;
    let mut at_beside = subscribe(&beside, "news", Validation::Signature).await;
    let mut at_b = subscribe(&b, "news", Validation::Signature).await;
    let mut at_c = subscribe(&c, "news", Validation::Signature).await;
    join(&a.client, "news", &mut [&mut at_beside, &mut at_b, &mut at_c]).await;

    let largest = bytes(9, MAX_GOSSIP);
    let (first, _) = a.client.publish(name("news"), largest.clone()).await.unwrap();
    for reader in [&mut at_beside, &mut at_b, &mut at_c] {
        let message = next_real(reader).await;
        assert!(message.id == first && message.author == a.client.node_id() && message.payload == largest);
    }
    // Whoever publishes need not be subscribed; the same payload again is another message.
    let outsider = three.plugin("outsider", all()).await;
    let (second, _) = outsider.client.publish(name("news"), &b"hi"[..]).await.unwrap();
    let (third, _) = outsider.client.publish(name("news"), &b"hi"[..]).await.unwrap();
    assert_ne!(second, third);
    let mut ids = vec![next_real(&mut at_a).await.id, next_real(&mut at_a).await.id];
    ids.sort();
    let mut expected = vec![second, third];
    expected.sort();
    assert_eq!(ids, expected);

    let info = at_b.info().await.unwrap();
    assert!(info.delivered >= 3 && info.neighbours >= 1, "{info:?}");
    refused(a.client.publish(name("news"), bytes(1, MAX_GOSSIP + 1)), ErrorCode::TooLarge).await;

    at_c.end().await.unwrap();
    a.client.publish(name("news"), &b"after"[..]).await.unwrap();
    assert_eq!(next_real(&mut at_b).await.payload, b"hi"[..]);
}

/// Judges by what a message begins with, until the session ends.
async fn validate(mut subscription: Subscription) {
    while let Some(message) = subscription.next().await {
        let verdict = match message.payload.first() {
            Some(b'-') => Verdict::Reject,
            Some(b'?') => Verdict::Ignore,
            _ => Verdict::Accept,
        };
        if subscription.judge(&message, verdict).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_validates_decides_what_is_passed_on() {
    // In a row: the two at the ends never talk to each other, so what the middle does not accept the last never sees.
    let (one, two, three) = (Netcore::start().await, Netcore::start().await, Netcore::start().await);
    for (netcore, other) in [(&one, &three), (&three, &one)] {
        let request = AdminRequest::Block { node: other.ticket().await.node };
        assert_eq!(netcore.ask(request).await, AdminResponse::Done);
    }
    connected(&one, &two).await;
    connected(&two, &three).await;
    let (a, b, c) =
        (one.plugin("first", all()).await, two.plugin("second", all()).await, three.plugin("third", all()).await);
    let middle = tokio::spawn(validate(subscribe(&b, "votes", Validation::Plugin).await));
    let mut last = subscribe(&c, "votes", Validation::Signature).await;
    join(&a.client, "votes", &mut [&mut last]).await;
    for payload in ["-wrong", "?unsure", "right"] {
        a.client.publish(name("votes"), payload).await.unwrap();
    }
    assert_eq!(next_real(&mut last).await.payload, b"right"[..]);
    // A plugin's own messages are not given to itself to judge.
    b.client.publish(name("votes"), "-own").await.unwrap();
    assert_eq!(next_real(&mut last).await.payload, b"-own"[..]);
    assert!(!middle.is_finished());
    middle.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_need_a_subscription_and_may_come_late() {
    let node = Netcore::start().await;
    let (writer, reader) = (node.plugin("writer", all()).await, node.plugin("reader", all()).await);
    let mut subscription = subscribe(&reader, "news", Validation::Plugin).await;
    writer.client.publish(name("news"), &b"hi"[..]).await.unwrap();
    let message = next(&mut subscription).await;
    assert_eq!(message.author, writer.client.node_id());
    for verdict in [Verdict::Accept, Verdict::Reject, Verdict::Ignore] {
        subscription.judge(&message, verdict).await.unwrap();
    }
    let mut raw = Deaf::connect(&node.launch("raw", all()).await).await;
    for request in [
        Request::Judge { topic: name("news"), message: message.id, verdict: Verdict::Accept },
        Request::Unsubscribe { topic: name("news") },
        Request::Topic { topic: name("news") },
    ] {
        let Response::Failed(failure) = raw.ask(request).await else { panic!("it is not subscribed") };
        assert!(failure.is(ErrorCode::BadArgument), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_limited_and_end_with_their_grant() {
    let node = Netcore::start().await;
    let mut reader = node.plugin("reader", all()).await;
    let writer = node.plugin("writer", all()).await;
    let mut held = Vec::new();
    for number in 0..MAX_TOPICS {
        held.push(subscribe(&reader, &format!("t/{number}"), Validation::Signature).await);
    }
    refused(reader.client.subscribe(name("t/more"), Validation::Signature), ErrorCode::Busy).await;
    held.pop();
    until("room for another topic", async || {
        let news = reader.client.subscribe(name("news"), Validation::Signature).await.ok()?;
        held.push(news);
        Some(())
    })
    .await;
    let mut kept = held.remove(0);
    let mut lost = held.pop().unwrap();
    assert_eq!(lost.topic(), &name("news"));

    regrant(&node, &mut reader, Grants { topics: vec!["t/*".parse().unwrap()], ..all() }).await;
    writer.client.publish(name("news"), &b"secret"[..]).await.unwrap();
    writer.client.publish(name("t/0"), &b"open"[..]).await.unwrap();
    assert_eq!(next(&mut kept).await.payload, b"open"[..]);
    tokio::select! {
        biased;
        message = lost.next() => panic!("{message:?} without a grant"),
        answer = reader.client.ping() => answer.unwrap(),
    }
    refused(lost.info(), ErrorCode::BadArgument).await;
    refused(reader.client.subscribe(name("news"), Validation::Signature), ErrorCode::NotGranted).await;
    refused(reader.client.publish(name("news"), &b""[..]), ErrorCode::NotGranted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn author_a_plugin_may_not_deal_with_is_not_heard() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    connected(&one, &two).await;
    let writer = one.plugin("writer", all()).await;
    let open = two.plugin("open", all()).await;
    let shy = two.plugin("shy", Grants { peers: PeerScope::List(vec![]), ..all() }).await;
    let mut heard = subscribe(&open, "news", Validation::Signature).await;
    let mut unheard = subscribe(&shy, "news", Validation::Plugin).await;
    join(&writer.client, "news", &mut [&mut heard]).await;
    until("the message to be held back", async || (two.counter("messages_not_allowed").await > 0).then_some(())).await;
    // Its own node's it hears.
    open.client.publish(name("news"), &b"from here"[..]).await.unwrap();
    assert_eq!(next(&mut unheard).await.payload, b"from here"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_does_not_read_misses_messages_and_holds_up_nobody() {
    let node = Netcore::start().await;
    let writer = node.plugin("writer", all()).await;
    let reader = node.plugin("reader", all()).await;
    let mut deaf = Deaf::connect(&node.launch("deaf", all()).await).await;
    let request = Request::Subscribe { topic: name("news"), validation: Validation::Plugin };
    assert_eq!(deaf.ask(request).await, Response::Done);
    let mut heard = subscribe(&reader, "news", Validation::Signature).await;
    let payload = bytes(4, MAX_GOSSIP);
    let mut published = 0;
    until("a message to be dropped", async || {
        let (id, _) = writer.client.publish(name("news"), payload.clone()).await.unwrap();
        published += 1;
        assert_eq!(next(&mut heard).await.id, id, "the others hear every one");
        (node.counter("messages_unread").await > 0).then_some(())
    })
    .await;
    assert!(published * MAX_GOSSIP >= MESSAGE_BACKLOG, "{published}");
    let (came, dropped) = deaf.drain().await;
    assert!(dropped > 0 && came > 0 && came < published, "{came} of {published}");
    assert!(deaf.events.iter().any(|event| matches!(event, Event::Message { .. })));
}
