//! Starts, ends and restarts: of netcore, of its supervisor, of a plugin's session.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::Client;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::settings::{NetSettings, PeerSettings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Launch, Netcore, all, alone, bytes, protocol, read_code, refusal, stream_between, target, within};

#[test]
fn started_by_hand_it_says_what_to_do() {
    let home = TempDir::new().unwrap();
    let output = Command::new("sh")
        .args(["-c", "exec 3<&-; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_polypeer-netcore"), "--home"])
        .arg(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("polypeer run"), "{text}");
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "it made nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_first_and_once_and_are_checked() {
    let home = || Arc::new(TempDir::new().unwrap());
    let mut early = Netcore::unconfigured(&[], home());
    early.tell(AdminRequest::Status).await;
    assert_eq!(early.exit().await.code(), Some(1));

    let mut wrong = Netcore::unconfigured(&[], home());
    let peers = PeerSettings { low: Some(20), high: Some(10) };
    wrong.tell(AdminRequest::Configure(Box::new(NetSettings { peers, ..alone() }))).await;
    assert_eq!(wrong.exit().await.code(), Some(1));

    let node = Netcore::spawn(home(), "main").await;
    match node.ask(AdminRequest::Configure(Box::new(alone()))).await {
        AdminResponse::Failed(failure) => assert!(failure.is(ErrorCode::BadArgument), "{failure}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(node.ask(AdminRequest::Start).await, AdminResponse::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_accepted_before_the_start() {
    let (one, two) = (Netcore::start().await, Netcore::spawn(Arc::new(TempDir::new().unwrap()), "main").await);
    let near = one.plugin("near", all()).await;
    let launch = two.launch("far", all()).await;
    let ticket = target(&two).await;
    // The plugin connects, and is answered once the node has started.
    let mut connecting = Box::pin(launch.connect());
    let call = near.client.call(ticket.clone(), protocol("echo/1"), &b""[..], Some(Duration::from_millis(700)));
    tokio::select! {
        _ = &mut connecting => panic!("a session before the start"),
        result = call => {
            let failure = refusal(result);
            assert!(failure.is(ErrorCode::TimedOut) || failure.is(ErrorCode::Unreachable), "{failure}");
        }
    }
    assert_eq!(two.ask(AdminRequest::Start).await, AdminResponse::Done);
    let far = connecting.await;
    two.event(&AdminEvent::SessionUp { launch: far.launch.number }).await;
    far.client.ready().await.unwrap();
    two.event(&AdminEvent::Ready { launch: far.launch.number }).await;
    // Within a moment of the start whatever is granted is held for its plugin.
    let call = near.client.call(ticket, protocol("echo/1"), &b"hi"[..], None);
    let mut far = far;
    let answer = async {
        tokio::time::timeout(Duration::from_millis(200), far.events.next()).await.expect_err("nothing is served yet");
        far.client.listen(protocol("echo/1"), Scope::Peers, CallMode::Events).await.unwrap();
        let Event::Call { call, payload, .. } = far.event().await else { panic!("not a call") };
        far.client.answer(call, payload.0).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert_eq!(reply.unwrap(), b"hi"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_netcore_takes_over_the_listeners_and_no_connect_is_refused() {
    let mut first = Netcore::start().await;
    let mut near = first.plugin("near", all()).await;
    let mut far = first.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let (mut at_near, mut at_far) = stream_between(&near, &mut far, Target::Local, "echo/1").await;
    let node = near.client.node_id();
    first.kill().await;
    let lost = ErrorCode::ConnectionLost.number();
    assert_eq!((read_code(&mut at_near).await, read_code(&mut at_far).await), (lost, lost));

    // Connects while there is no netcore wait; they are not refused.
    let (near_again, far_again) = (
        Client::connect(&near.launch.socket, near.launch.token.clone()),
        Client::connect(&far.launch.socket, far.launch.token.clone()),
    );
    let restart = async {
        let second = Netcore::spawn(Arc::clone(&first.home), "main").await;
        near.launch.add_to(&second).await;
        far.launch.add_to(&second).await;
        assert_eq!(second.ask(AdminRequest::Start).await, AdminResponse::Done);
        second
    };
    let (near_again, far_again, second) =
        within("two sessions", async { tokio::join!(near_again, far_again, restart) }).await;
    (near.client, near.events) = near_again.unwrap();
    (far.client, far.events) = far_again.unwrap();
    assert_eq!(near.client.node_id(), node, "the node is the same");
    // The caller need not wait for the listener to be there again.
    let open = near.client.open(Target::Local, protocol("echo/1"), None);
    let listen = async {
        far.client.listen(protocol("echo/1"), Scope::Local, CallMode::Streams).await.unwrap();
        far.accept().await
    };
    let (opened, mut accepted) = within("a stream", async { tokio::join!(open, listen) }).await;
    let mut opened = opened.unwrap();
    opened.write_all(b"again").await.unwrap();
    opened.finish().await.unwrap();
    let mut text = Vec::new();
    accepted.read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"again");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_served_a_moment_ago_is_held_while_its_session_restarts() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let far = two.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let target = target(&two).await;
    // Reach the peer first, so that what follows is only the hold.
    assert!(
        refusal(near.client.call(target.clone(), protocol("none/1"), &b""[..], None).await).is(ErrorCode::NotServed)
    );
    let (number, launch) = (far.launch.number, far.launch);
    drop((far.client, far.events));
    two.event(&AdminEvent::SessionDown { launch: number, failure: None }).await;
    let call = near.client.call(target, protocol("echo/1"), &b"hi"[..], None);
    let back = async {
        let mut far = launch.connect().await;
        far.client.listen(protocol("echo/1"), Scope::Peers, CallMode::Events).await.unwrap();
        let Event::Call { call, payload, .. } = far.event().await else { panic!("not a call") };
        far.client.answer(call, payload.0).await.unwrap();
        far
    };
    let (reply, _far) = within("a call", async { tokio::join!(call, back) }).await;
    assert_eq!(reply.unwrap(), b"hi"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_ends_with_its_supervisor() {
    let mut node = Netcore::start().await;
    let plugin = node.plugin("chat", all()).await;
    node.close_admin();
    assert!(node.exit().await.success());
    assert!(within("the session's end", plugin.client.ended()).await.is(ErrorCode::ConnectionLost));
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_end_lets_streams_finish_and_cuts_those_that_do_not() {
    let (mut one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Peers, CallMode::Streams).await.unwrap();
    let target = target(&two).await;
    let (mut short_near, mut short_far) = stream_between(&near, &mut far, target.clone(), "echo/1").await;
    let (mut long_near, mut long_far) = stream_between(&near, &mut far, target, "echo/1").await;
    let shutdown = one.ask(AdminRequest::Shutdown { grace_ms: 5000 });
    let traffic = async {
        assert!(within("the session's end", near.client.ended()).await.is(ErrorCode::ShuttingDown));
        let said = bytes(4, 1 << 20);
        let sent = said.clone();
        let writing = tokio::spawn(async move {
            short_near.write_all(&sent).await.unwrap();
            short_near.finish().await.unwrap();
            short_near.closed().await.unwrap();
        });
        let mut heard = Vec::new();
        short_far.read_to_end(&mut heard).await.unwrap();
        assert!(heard == said, "what began before the end is said to its end");
        short_far.finish().await.unwrap();
        writing.await.unwrap();
        assert_eq!(read_code(&mut long_near).await, ErrorCode::ShuttingDown.number());
        // The end of the connection may overtake the reset of the stream.
        let far_code = ErrorCode::from_number(read_code(&mut long_far).await);
        assert!(matches!(far_code, Some(ErrorCode::ShuttingDown | ErrorCode::ConnectionLost)), "{far_code:?}");
        // A plugin that tries again meanwhile is told.
        let again = Client::connect(&near.launch.socket, near.launch.token.clone()).await;
        assert!(again.is_err());
    };
    let (answer, ()) = within("the end", async { tokio::join!(shutdown, traffic) }).await;
    assert_eq!(answer, AdminResponse::Done);
    assert!(one.exit().await.success());
    two.event(&AdminEvent::PeerDown { node: near.client.node_id() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_admin_requests_are_refused() {
    let node = Netcore::start().await;
    let launch = node.launch("chat", all()).await;
    let again = AdminRequest::AddLaunch {
        launch: launch.number,
        plugin: launch.id.clone(),
        token: launch.token.clone(),
        grants: all(),
    };
    let failed = |response| match response {
        AdminResponse::Failed(failure) => failure,
        other => panic!("{other:?}"),
    };
    let failure = failed(node.ask(again.clone()).await);
    assert!(failure.is(ErrorCode::BadArgument) && failure.message.contains("descriptor"), "{failure}");
    let other = Launch::new("chat", all());
    let failure = failed(node.ask_with(again, Some(&other.listener)).await);
    assert!(failure.is(ErrorCode::BadArgument) && failure.message.contains("exists"), "{failure}");
    let failure = failed(node.ask(AdminRequest::RemoveLaunch { launch: 999_999 }).await);
    assert!(failure.is(ErrorCode::BadArgument), "{failure}");
    launch.connect().await.client.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_measures_a_round_trip_and_a_stranger_is_explained() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let ticket = two.ticket().await;
    let answer = one.ask(AdminRequest::AddPeer { ticket: ticket.clone(), timeout_ms: 0 }).await;
    assert!(matches!(answer, AdminResponse::Pong { node, rtt_us } if node == ticket.node && rtt_us > 0), "{answer:?}");
    let AdminResponse::Peers(peers) = one.ask(AdminRequest::Peers).await else { panic!("not peers") };
    assert_eq!(peers[0].node, ticket.node);
    let stranger = polypeer_ipc_protocol::ticket::Ticket { addresses: vec![], ..one.ticket().await };
    let AdminResponse::Failed(failure) = one.ask(AdminRequest::Ping { ticket: stranger, timeout_ms: 0 }).await else {
        panic!("the own node answered")
    };
    assert!(failure.is(ErrorCode::BadArgument), "{failure}");
}
