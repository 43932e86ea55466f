//! A plugin that is being stopped, and one that is asked whether it lives.

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::Client;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Netcore, all, protocol, refusal, stream_between, within};

#[tokio::test(flavor = "multi_thread")]
async fn stopped_plugin_is_told_once_and_keeps_its_streams() {
    let node = Netcore::start().await;
    let near = node.plugin("near", all()).await;
    let mut far = node.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let (mut at_near, mut at_far) = stream_between(&near, &mut far, Target::Local, "echo/1").await;

    let launch = far.launch.number;
    assert_eq!(node.ask(AdminRequest::EndSession { launch }).await, AdminResponse::Done);
    let Event::Closing(why) = far.event().await else { panic!("not closing") };
    assert!(why.is(ErrorCode::ShuttingDown), "{why}");
    let again = refusal(Client::connect(&far.launch.socket, far.launch.token.clone()).await);
    assert!(again.is(ErrorCode::ShuttingDown), "{again}");
    assert_eq!(node.ask(AdminRequest::EndSession { launch }).await, AdminResponse::Done, "there is none, as wanted");
    let unknown = AdminRequest::EndSession { launch: u64::MAX };
    assert!(matches!(node.ask(unknown).await, AdminResponse::Failed(failure) if failure.is(ErrorCode::BadArgument)));

    at_near.write_all(b"still there").await.unwrap();
    at_near.finish().await.unwrap();
    let mut text = Vec::new();
    within("the end of the stream", at_far.read_to_end(&mut text)).await.unwrap();
    assert_eq!(text, b"still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_answers_for_itself_and_a_plugin_for_its_own_loop() {
    let node = Netcore::start().await;
    assert_eq!(node.ask(AdminRequest::Heartbeat).await, AdminResponse::Done);
    let plugin = node.plugin("chat", all()).await;
    let launch = plugin.launch.number;
    assert_eq!(node.ask(AdminRequest::CheckSession { launch }).await, AdminResponse::Done);
    node.event(&AdminEvent::SessionAlive { launch }).await;
    // Without a session there is nobody to ask.
    let idle = node.launch("idle", all()).await;
    let asked = node.ask(AdminRequest::CheckSession { launch: idle.number }).await;
    assert!(matches!(asked, AdminResponse::Failed(failure) if failure.is(ErrorCode::BadArgument)));
}
