//! A peer that fills what may wait at a plugin: the calls of others get through.

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::limits::MAX_CALLS;
use polypeer_netcore::limits::STREAMS_PER_PEER;
use tokio::task::JoinSet;

use crate::common::{Netcore, all, connected, peer_of, protocol, refusal, target, within};

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_an_honest_peer_are_taken_while_another_floods_the_plugin() {
    let (node, flooding, honest) = (Netcore::start().await, Netcore::start().await, Netcore::start().await);
    connected(&flooding, &node).await;
    connected(&honest, &node).await;
    let mut slow = node.plugin("slow", all()).await;
    slow.client.listen(protocol("slow/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let there = target(&node).await;

    // One plugin has at most so many open to one peer; two of them could take every place.
    let flooders = [flooding.plugin("first", all()).await, flooding.plugin("second", all()).await];
    assert!(flooders.len() * STREAMS_PER_PEER >= MAX_CALLS);
    let mut flood = JoinSet::new();
    for flooder in &flooders {
        for _ in 0..STREAMS_PER_PEER {
            let (client, there) = (flooder.client.clone(), there.clone());
            flood.spawn(async move { client.call(there, protocol("slow/1"), vec![1; 10], None).await });
        }
    }
    // Nobody answers, so those that end are those that were refused.
    for _ in 0..flooders.len() * STREAMS_PER_PEER - MAX_CALLS / 2 {
        let failure = refusal(within("a refusal", flood.join_next()).await.unwrap().unwrap());
        assert!(failure.is(ErrorCode::Busy) && failure.message.contains("for other callers"), "{failure}");
    }
    let over_share = node.counter("refused_over_share").await;
    assert_eq!(over_share as usize, flooders.len() * STREAMS_PER_PEER - MAX_CALLS / 2);
    assert_eq!(node.counter("refused_busy").await, over_share);

    let caller = honest.plugin("caller", all()).await;
    let (client, honest_id) = (caller.client.clone(), honest.ticket().await.node);
    let call = tokio::spawn(async move { client.call(there, protocol("slow/1"), b"please".to_vec(), None).await });
    loop {
        let Event::Call { call, origin, payload, .. } = slow.event().await else { panic!("not a call") };
        if peer_of(&origin) == honest_id {
            assert_eq!(&payload.0[..], b"please");
            slow.client.answer(call, b"yes".as_slice()).await.unwrap();
            break;
        }
    }
    assert_eq!(within("an honest call", call).await.unwrap().unwrap(), b"yes"[..]);
    assert_eq!(flood.len(), MAX_CALLS / 2, "the flood still waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_the_same_node_takes_no_more_than_its_share_either() {
    let node = Netcore::start().await;
    let mut slow = node.plugin("slow", all()).await;
    slow.client.listen(protocol("slow/1"), Scope::Local, CallMode::Events).await.unwrap();
    let (flooder, honest) = (node.plugin("flooder", all()).await, node.plugin("honest", all()).await);
    let mut flood = JoinSet::new();
    for _ in 0..MAX_CALLS - 1 {
        let client = flooder.client.clone();
        flood.spawn(async move { client.call(Target::Local, protocol("slow/1"), vec![1; 10], None).await });
    }
    for _ in 0..MAX_CALLS / 2 - 1 {
        let failure = refusal(within("a refusal", flood.join_next()).await.unwrap().unwrap());
        assert!(failure.is(ErrorCode::Busy), "{failure}");
    }
    let honest_call = honest.client.call(Target::Local, protocol("slow/1"), b"please".to_vec(), None);
    let answering = async {
        loop {
            let Event::Call { call, payload, .. } = slow.event().await else { panic!("not a call") };
            if &payload.0[..] == b"please" {
                return slow.client.answer(call, b"yes".as_slice()).await.unwrap();
            }
        }
    };
    let (answer, ()) = within("an honest call", async { tokio::join!(honest_call, answering) }).await;
    assert_eq!(answer.unwrap(), b"yes"[..]);
}
