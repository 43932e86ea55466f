//! Gossip between plugins of several nodes.

use std::collections::BTreeSet;

use polypeer_ipc_protocol::client::{Message, Subscription};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use crate::common::{Netcore, all, bytes, connected, name, refused, until, within};

async fn next(subscription: &mut Subscription) -> Message {
    within("a message", subscription.next()).await.expect("the session stands")
}

async fn info(subscription: &Subscription, what: &str, check: impl Fn(&TopicInfo) -> bool) -> TopicInfo {
    until(what, async || {
        let info = subscription.info().await.expect("subscribed");
        check(&info).then_some(info)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_publishes_all_who_are_subscribed_get_once_also_through_others() {
    let nodes = [Netcore::start().await, Netcore::start().await, Netcore::start().await];
    connected(&nodes[0], &nodes[1]).await;
    connected(&nodes[2], &nodes[1]).await;
    let (mut plugins, mut subscriptions) = (Vec::new(), Vec::new());
    for node in &nodes {
        let plugin = node.plugin("news", all()).await;
        subscriptions.push(plugin.client.subscribe(name("news"), Validation::Signature).await.unwrap());
        plugins.push(plugin);
    }
    let largest = bytes(3, MAX_GOSSIP);
    let payloads = [(0, b"from one".to_vec()), (2, b"from three".to_vec()), (1, Vec::new()), (0, largest)];
    let mut expected = vec![BTreeSet::new(); 3];
    for (from, payload) in payloads {
        let (id, _) = plugins[from].client.publish(name("news"), payload.clone()).await.unwrap();
        for (_, expected) in expected.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            expected.insert((id.0, payload.clone(), from));
        }
    }
    for (subscription, expected) in subscriptions.iter_mut().zip(&expected) {
        let mut got = BTreeSet::new();
        while got.len() < expected.len() {
            let message = next(subscription).await;
            let from = plugins.iter().position(|plugin| plugin.client.node_id() == message.author).unwrap();
            assert!(got.insert((message.id.0, message.payload.to_vec(), from)), "twice");
        }
        assert_eq!(&got, expected);
        let info =
            info(subscription, "the last delivery to be counted", |info| info.delivered >= got.len() as u64).await;
        assert_eq!((info.delivered, info.dropped), (got.len() as u64, 0));
        assert!(info.neighbours >= 1, "{info:?}");
    }
    refused(plugins[0].client.publish(name("news"), vec![0; MAX_GOSSIP + 1]), ErrorCode::TooLarge).await;
    assert_eq!(nodes[1].counter("peers_misbehaved").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_node_hear_each_other_and_not_themselves() {
    let node = Netcore::start().await;
    let (one, two) = (node.plugin("one", all()).await, node.plugin("two", all()).await);
    let mut mine = one.client.subscribe(name("room/1"), Validation::Plugin).await.unwrap();
    let mut theirs = two.client.subscribe(name("room/1"), Validation::Plugin).await.unwrap();
    let (first, peers) = one.client.publish(name("room/1"), &b"hi"[..]).await.unwrap();
    assert_eq!(peers, 0);
    let (second, _) = two.client.publish(name("room/1"), &b"hello"[..]).await.unwrap();
    assert_eq!(next(&mut theirs).await.id, first);
    assert_eq!(next(&mut mine).await.id, second, "its own does not come before");
    theirs.end().await.unwrap();
    assert_eq!(mine.info().await.unwrap().neighbours, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_too_early_is_kept_for_those_who_come() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let author = one.plugin("author", all()).await;
    let (id, peers) = author.client.publish(name("later"), &b"hi"[..]).await.unwrap();
    assert_eq!(peers, 0);
    connected(&one, &two).await;
    let reader = two.plugin("reader", all()).await;
    let mut subscription = reader.client.subscribe(name("later"), Validation::Signature).await.unwrap();
    let message = next(&mut subscription).await;
    assert_eq!((message.id, message.author, &message.payload[..]), (id, author.client.node_id(), &b"hi"[..]));
    let info = info(&subscription, "the pull to be counted", |info| info.pulled == 1).await;
    assert_eq!((info.delivered, info.duplicates), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_plugin_rejects_goes_no_further_and_counts_against_its_sender() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    connected(&one, &two).await;
    let author = one.plugin("author", all()).await;
    let judges = [two.plugin("strict", all()).await, two.plugin("lax", all()).await];
    let mut strict = judges[0].client.subscribe(name("news"), Validation::Plugin).await.unwrap();
    let mut lax = judges[1].client.subscribe(name("news"), Validation::Plugin).await.unwrap();
    let _reader = author.client.subscribe(name("news"), Validation::Signature).await.unwrap();
    author.client.publish(name("news"), &b"nonsense"[..]).await.unwrap();
    let (seen, same) = (next(&mut strict).await, next(&mut lax).await);
    assert_eq!(seen, same);
    lax.judge(&same, Verdict::Accept).await.unwrap();
    strict.judge(&seen, Verdict::Reject).await.unwrap();
    info(&strict, "the rejection to be counted", |info| info.dropped == 1).await;
    until("the blame", async || (two.counter("gossip_blames").await == 1).then_some(())).await;
    // What both accept is not dropped.
    author.client.publish(name("news"), &b"news"[..]).await.unwrap();
    let (seen, same) = (next(&mut strict).await, next(&mut lax).await);
    lax.judge(&same, Verdict::Ignore).await.unwrap();
    strict.judge(&seen, Verdict::Accept).await.unwrap();
    assert_eq!(info(&strict, "both deliveries", |info| info.delivered == 2).await.dropped, 1);
}
