//! Questions on links.

use std::sync::Arc;

use polypeer_engine::query::admission::QUESTION_RATE;
use polypeer_ipc_protocol::error::ErrorCode;
use tokio::task::JoinSet;

use crate::world::{World, deadline, protocol};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_of_an_unknown_kind_is_refused_as_unsupported() {
    let (a, b) = (World::start().await, World::start().await);
    a.connect(&b).await;
    for name in ["future/1", "kad/2"] {
        let asked = a.services().queries.ask(b.id(), &[], &protocol(name), b"?".to_vec(), deadline()).await;
        let failure = asked.expect_err("nothing answers it");
        assert!(failure.is(ErrorCode::Unsupported) && failure.message.contains(name), "{failure}");
    }
    assert_eq!(b.node().counters.peers_misbehaved.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_floods_questions_is_refused_and_counted_and_others_are_not() {
    let (flooder, honest, b) = (World::start().await, World::start().await, World::start().await);
    flooder.connect(&b).await;
    honest.connect(&b).await;
    let ask = |from: &World| {
        let (queries, to) = (Arc::clone(&from.services().queries), b.id());
        async move {
            let asked = queries.ask(to, &[], &protocol("future/1"), Vec::new(), deadline()).await;
            asked.expect_err("nothing answers it")
        }
    };
    let mut asking = JoinSet::new();
    for _ in 0..8 * QUESTION_RATE.burst {
        asking.spawn(ask(&flooder));
    }
    let failures = asking.join_all().await;
    let busy = failures.iter().filter(|failure| failure.is(ErrorCode::Busy)).count() as u64;
    assert!(busy > 0, "{} answered", failures.len());
    // Some may have been refused as streams already, and the flooder's node has questions of its own.
    assert!(b.node().counters.questions_refused_busy.value() > 0);
    assert!(ask(&honest).await.is(ErrorCode::Unsupported), "others are answered");
}
