//! How streams end: both plugins always learn how, and a cut never looks like an end.

use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::{DataStream, StreamError};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Scope, Target};
use polypeer_netcore::limits::Timings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    Netcore, Plugin, all, bytes, protocol, read_code, stream_between, target, until, within, write_code,
};

const LOST: u32 = ErrorCode::ConnectionLost as u32;

/// Two plugins, on one node or on two, and what opens streams between them.
struct World {
    near: Plugin,
    far: Plugin,
    target: Target,
    one: Netcore,
    two: Option<Netcore>,
}

impl World {
    async fn local() -> Self {
        let one = Netcore::start().await;
        let near = one.plugin("near", all()).await;
        let far = one.plugin("far", all()).await;
        far.client.listen(protocol("test/1"), Scope::Local, CallMode::Streams).await.unwrap();
        Self { near, far, target: Target::Local, one, two: None }
    }

    async fn remote() -> Self {
        let (one, two) = (Netcore::start().await, Netcore::start().await);
        let near = one.plugin("near", all()).await;
        let far = two.plugin("far", all()).await;
        far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Streams).await.unwrap();
        Self { near, far, target: target(&two).await, one, two: Some(two) }
    }

    async fn stream(&mut self) -> (DataStream, DataStream) {
        let target = self.target.clone();
        stream_between(&self.near, &mut self.far, target, "test/1").await
    }

    /// Streams the far plugin's netcore counts for it.
    async fn far_streams(&self) -> u64 {
        let netcore = self.two.as_ref().unwrap_or(&self.one);
        match netcore.ask(AdminRequest::Traffic).await {
            AdminResponse::Traffic(all) => all.iter().find(|one| one.plugin.as_str() == "far").unwrap().streams,
            other => panic!("{other:?}"),
        }
    }
}

async fn both(scenario: impl AsyncFn(World)) {
    scenario(World::local().await).await;
    scenario(World::remote().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_applications_arrive_as_they_were_sent() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        near.write_all(b"some").await.unwrap();
        near.reset(77).await.unwrap();
        assert_eq!(read_code(&mut far).await, 77);
        far.write_all(b"the other direction goes on").await.unwrap();
        far.finish().await.unwrap();
        let mut rest = Vec::new();
        within("the rest", near.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"the other direction goes on");

        let (mut near, mut far) = world.stream().await;
        near.stop(78).await.unwrap();
        assert_eq!(write_code(&mut far).await, 78);
        near.write_all(b"here too").await.unwrap();
        near.finish().await.unwrap();
        let mut rest = Vec::new();
        within("the rest", far.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"here too");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_whose_direction_was_stopped_learns_the_code_and_may_still_end_it() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        near.stop(0).await.unwrap();
        near.finish().await.unwrap();
        let mut rest = Vec::new();
        within("the end", far.read_to_end(&mut rest)).await.unwrap();
        assert_eq!((rest.len(), write_code(&mut far).await), (0, 0));
        // For the others the stream is over, and its place is free; for this plugin not yet.
        until("the place to be given back", async || (world.far_streams().await == 0).then_some(())).await;
        far.reset(5).await.unwrap();
        drop(near);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_direction_may_end_long_before_the_other() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        near.write_all(b"question").await.unwrap();
        near.finish().await.unwrap();
        let mut question = Vec::new();
        within("the question", far.read_to_end(&mut question)).await.unwrap();
        assert_eq!(question, b"question");
        let answer = bytes(5, 3 << 20);
        let (mut received, sent) = (Vec::new(), answer.clone());
        let writing = tokio::spawn(async move {
            far.write_all(&sent).await.unwrap();
            far.closed().await.unwrap();
        });
        within("the answer", near.read_to_end(&mut received)).await.unwrap();
        assert!(received == answer);
        within("the end", near.closed()).await.unwrap();
        within("the end", writing).await.unwrap();
        until("the place to be given back", async || (world.far_streams().await == 0).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_dies_in_the_middle_cuts_its_streams() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        near.write_all(&bytes(1, 300_000)).await.unwrap();
        near.flush().await.unwrap();
        drop(near);
        assert_eq!(read_code(&mut far).await, LOST);
        assert_eq!(write_code(&mut far).await, LOST);

        let (mut near, far) = world.stream().await;
        drop(far);
        assert_eq!(write_code(&mut near).await, LOST);
        assert_eq!(read_code(&mut near).await, LOST);
        until("the places to be given back", async || (world.far_streams().await == 0).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_finishes_and_leaves_has_still_said_everything() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        let said = bytes(9, 100_000);
        near.write_all(&said).await.unwrap();
        near.finish().await.unwrap();
        drop(near);
        let mut heard = Vec::new();
        within("everything", far.read_to_end(&mut heard)).await.unwrap();
        assert!(heard == said);
        assert_eq!(write_code(&mut far).await, LOST);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn launch_that_is_removed_cuts_its_streams_even_stuck_ones() {
    both(async |mut world| {
        let (mut near, mut far) = world.stream().await;
        // The far plugin does not read: netcore cannot get rid of what it holds.
        let stuck = tokio::spawn(async move {
            let code = write_code(&mut near).await;
            (near, code)
        });
        let netcore = world.two.as_ref().unwrap_or(&world.one);
        let removed = netcore.ask(AdminRequest::RemoveLaunch { launch: world.far.launch.number }).await;
        assert_eq!(removed, AdminResponse::Done);
        let (mut near, code) = within("the writer's error", stuck).await.unwrap();
        assert_eq!(code, LOST);
        assert_eq!(read_code(&mut near).await, LOST);
        assert_eq!(read_code(&mut far).await, LOST);
        assert!(within("the session's end", world.far.client.ended()).await.is(ErrorCode::ShuttingDown));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_that_is_killed_cuts_streams_at_both_ends() {
    let mut one = Netcore::start().await;
    // The survivor is told nothing: it finds out by the peer's silence.
    let two = Netcore::inside(Timings::default(), Duration::from_secs(5)).await;
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("test/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let target = target(&two).await;
    let (mut at_near, mut at_far) = stream_between(&near, &mut far, target.clone(), "test/1").await;
    let (mut idle_near, mut idle_far) = stream_between(&near, &mut far, target, "test/1").await;
    let (local_near, mut local_far) = {
        let mut other = one.plugin("other", all()).await;
        other.client.listen(protocol("local/1"), Scope::Local, CallMode::Streams).await.unwrap();
        stream_between(&near, &mut other, Target::Local, "local/1").await
    };
    let traffic = tokio::spawn(async move { write_code(&mut at_near).await });
    let mut some = [0; 1000];
    at_far.read_exact(&mut some).await.unwrap();
    one.kill().await;
    assert_eq!(traffic.await.unwrap(), LOST);
    assert_eq!(read_code(&mut idle_near).await, LOST);
    assert_eq!(read_code(&mut local_far).await, LOST);
    drop(local_near);
    assert_eq!(read_code(&mut at_far).await, LOST);
    assert_eq!(write_code(&mut at_far).await, LOST);
    assert_eq!(read_code(&mut idle_far).await, LOST);
    assert!(matches!(idle_far.closed().await, Err(StreamError::Stopped { .. } | StreamError::Reset { .. })));
    assert!(within("the session's end", near.client.ended()).await.is(ErrorCode::ConnectionLost));
}
