//! What plugins may not do, and what they are told.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::Client;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Grants, PeerScope, Scope, Target};
use polypeer_ipc_protocol::ids::NodeId;

use crate::common::{Netcore, all, protocol, read_code, refusal, stream_between, target, until, within, write_code};

fn assert_code(failure: &Failure, code: ErrorCode) {
    assert!(failure.is(code), "expected {code}, got {failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_each_request_is_refused_and_explained() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("chat/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let target = target(&two).await;
    let none = one.plugin("none", Grants::default()).await;
    let chat = protocol("chat/1");

    for scope in [Scope::Peers, Scope::Local] {
        let failure = refusal(none.client.listen(chat.clone(), scope, CallMode::Events).await);
        assert_code(&failure, ErrorCode::NotGranted);
        assert!(failure.message.contains("polypeer plugin grants none"), "{failure}");
    }
    for target in [target.clone(), Target::Local] {
        assert_code(&refusal(none.client.open(target.clone(), chat.clone(), None).await), ErrorCode::NotGranted);
        assert_code(&refusal(none.client.call(target, chat.clone(), &b""[..], None).await), ErrorCode::NotGranted);
    }
    let AdminResponse::Traffic(traffic) = one.ask(AdminRequest::Traffic).await else { panic!("not traffic") };
    assert_eq!(traffic[0].refused, 6);

    let grants = Grants { peers: PeerScope::List(vec![NodeId([9; 32])]), ..all() };
    let other = one.plugin("other", grants).await;
    let failure = refusal(other.client.open(target.clone(), chat.clone(), None).await);
    assert_code(&failure, ErrorCode::PeerNotAllowed);
    assert!(other.client.peers().await.unwrap().is_empty(), "it may not see the peer either");

    // Granted here, not there: the far plugin hears nothing of it.
    let able = one.plugin("able", all()).await;
    assert_eq!(able.client.node_id(), other.client.node_id());
    let narrow = Grants { peers: PeerScope::List(vec![]), ..all() };
    let shy = two.plugin("shy", narrow).await;
    shy.client.listen(protocol("shy/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let failure = refusal(able.client.open(target.clone(), protocol("shy/1"), None).await);
    assert_code(&failure, ErrorCode::PeerNotAllowed);
    let failure = refusal(able.client.call(target.clone(), protocol("shy/1"), &b""[..], None).await);
    assert_code(&failure, ErrorCode::PeerNotAllowed);

    // What is served locally is not there for peers, and the other way round.
    far.client.listen(protocol("inner/1"), Scope::Local, CallMode::Events).await.unwrap();
    let failure = refusal(able.client.open(target.clone(), protocol("inner/1"), None).await);
    assert_code(&failure, ErrorCode::NotServed);
    able.client.listen(chat.clone(), Scope::Peers, CallMode::Events).await.unwrap();
    assert_code(&refusal(able.client.open(Target::Local, chat.clone(), None).await), ErrorCode::NotServed);

    let own = Target::Node(able.client.node_id());
    assert_code(&refusal(able.client.open(own, chat.clone(), None).await), ErrorCode::BadArgument);
    let nobody = Target::Node(NodeId([3; 32]));
    assert_code(&refusal(able.client.call(nobody, chat, &b""[..], None).await), ErrorCode::UnknownPeer);
    tokio::select! {
        event = far.events.next() => panic!("the far plugin was told of {event:?}"),
        answer = far.client.ping() => answer.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_good_on_its_own_socket_only() {
    let node = Netcore::start().await;
    let mine = node.launch("mine", all()).await;
    let mut theirs = node.plugin("theirs", all()).await;
    for (socket, token) in [(&mine.socket, &theirs.launch.token), (&theirs.launch.socket, &mine.token)] {
        let failure = refusal(Client::connect(socket, token.clone()).await);
        assert_code(&failure, ErrorCode::Unauthorised);
    }
    assert_eq!(node.counter("gateway_unauthorised").await, 2);
    theirs.client.listen(protocol("echo/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let mine = mine.connect().await;
    // The session stands, and was not superseded by the attempts.
    let (_near, _far) = stream_between(&mine, &mut theirs, Target::Local, "echo/1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_session_supersedes_the_first_and_streams_live_on() {
    let node = Netcore::start().await;
    let near = node.plugin("near", all()).await;
    let mut far = node.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Local, CallMode::Streams).await.unwrap();
    let (mut at_near, mut at_far) = stream_between(&near, &mut far, Target::Local, "echo/1").await;
    let (newer, mut newer_events) = Client::connect(&far.launch.socket, far.launch.token.clone()).await.unwrap();
    let Event::Closing(why) = far.event().await else { panic!("not closing") };
    assert_code(&why, ErrorCode::Superseded);

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    at_near.write_all(b"still there").await.unwrap();
    at_near.finish().await.unwrap();
    let mut text = Vec::new();
    at_far.read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"still there");

    // A call made now waits for the new session to listen, and the old one's secret opens nothing.
    let call = near.client.call(Target::Local, protocol("echo/1"), &b"hi"[..], None);
    let answer = async {
        assert_code(&refusal(far.client.open(Target::Local, protocol("echo/1"), None).await), ErrorCode::Unauthorised);
        newer.listen(protocol("echo/1"), Scope::Local, CallMode::Events).await.unwrap();
        let Some(Event::Call { call, .. }) = newer_events.next().await else { panic!("not a call") };
        newer.answer(call, &b"ho"[..]).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, answer) }).await;
    assert_eq!(reply.unwrap(), b"ho"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_has_one_server_until_it_unlistens() {
    let node = Netcore::start().await;
    let first = node.plugin("first", all()).await;
    let second = node.plugin("second", all()).await;
    let echo = protocol("echo/1");
    first.client.listen(echo.clone(), Scope::Local, CallMode::Events).await.unwrap();
    let failure = refusal(second.client.listen(echo.clone(), Scope::Local, CallMode::Events).await);
    assert_code(&failure, ErrorCode::AlreadyServed);
    assert!(failure.message.contains("first"), "{failure}");
    first.client.unlisten(echo.clone(), Scope::Local).await.unwrap();
    assert_code(&refusal(first.client.unlisten(echo.clone(), Scope::Local).await), ErrorCode::BadArgument);
    assert_code(&refusal(second.client.open(Target::Local, echo.clone(), None).await), ErrorCode::NotServed);
    second.client.listen(echo, Scope::Local, CallMode::Events).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_grants_end_what_they_no_longer_cover() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    for name in ["keep/1", "drop/1"] {
        far.client.listen(protocol(name), Scope::Peers, CallMode::Streams).await.unwrap();
    }
    let target = target(&two).await;
    let (mut kept_near, mut kept_far) = stream_between(&near, &mut far, target.clone(), "keep/1").await;
    let (mut cut_near, mut cut_far) = stream_between(&near, &mut far, target.clone(), "drop/1").await;
    let grants = Grants { serve: vec!["keep/*".parse().unwrap()], ..all() };
    let request = AdminRequest::SetGrants { plugin: far.launch.id.clone(), grants: grants.clone() };
    assert_eq!(two.ask(request).await, AdminResponse::Done);
    assert_eq!(far.event().await, Event::GrantsChanged(grants));
    let not_granted = ErrorCode::NotGranted.number();
    assert_eq!(read_code(&mut cut_near).await, not_granted);
    assert_eq!(write_code(&mut cut_near).await, not_granted);
    assert_eq!(read_code(&mut cut_far).await, not_granted);

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    kept_near.write_all(b"on").await.unwrap();
    kept_near.finish().await.unwrap();
    let mut text = Vec::new();
    kept_far.read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"on");
    let failure = refusal(near.client.open(target, protocol("drop/1"), None).await);
    assert_code(&failure, ErrorCode::NotServed);
    until("the peer to say what it serves", async || {
        let peers = near.client.peers().await.unwrap();
        (peers[0].protocols == [protocol("keep/1")]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_and_refused_reach_the_other_side_with_code_and_text() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    far.client.listen(protocol("no/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let target = target(&two).await;

    let call = near.client.call(target.clone(), protocol("no/1"), &b"?"[..], None);
    let decline = async {
        let Event::Call { call, .. } = far.event().await else { panic!("not a call") };
        far.client.decline(call, Failure { code: 42, message: "not today".into() }).await.unwrap();
    };
    let (reply, ()) = within("a call", async { tokio::join!(call, decline) }).await;
    assert_eq!(refusal(reply), Failure { code: 42, message: "not today".into() });

    let open = near.client.open(target.clone(), protocol("no/1"), None);
    let refuse = async {
        let Event::Stream { stream, .. } = far.event().await else { panic!("not a stream") };
        far.client.refuse(stream, ErrorCode::NotGranted.into()).await.unwrap();
        let again = refusal(far.client.refuse(stream, ErrorCode::NotGranted.into()).await);
        assert_code(&again, ErrorCode::NoSuchStream);
        assert_code(&refusal(far.client.accept(stream).await), ErrorCode::NoSuchStream);
    };
    let (opened, ()) = within("a refusal", async { tokio::join!(open, refuse) }).await;
    assert_code(&refusal(opened), ErrorCode::Refused);

    // A caller that gives up is taken back, and so is an opener; each after its request has arrived.
    let patience = Some(std::time::Duration::from_secs(2));
    let call = near.client.call(target.clone(), protocol("no/1"), &b"?"[..], patience);
    assert_code(&refusal(call.await), ErrorCode::TimedOut);
    let Event::Call { call, .. } = far.event().await else { panic!("not a call") };
    assert_eq!(far.event().await, Event::CallGone { call });
    let open = near.client.open(target, protocol("no/1"), patience);
    assert_code(&refusal(open.await), ErrorCode::TimedOut);
    let Event::Stream { stream, .. } = far.event().await else { panic!("not a stream") };
    let Event::StreamGone { stream: gone, .. } = far.event().await else { panic!("not gone") };
    assert_eq!(stream, gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_of_another_network_is_not_talked_to() {
    let home = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let (one, two) = (Netcore::start().await, Netcore::spawn(home, "other").await);
    assert_eq!(two.ask(AdminRequest::Start).await, AdminResponse::Done);
    let near = one.plugin("near", all()).await;
    let far = two.plugin("far", all()).await;
    far.client.listen(protocol("echo/1"), Scope::Peers, CallMode::Events).await.unwrap();
    let failure = refusal(near.client.call(target(&two).await, protocol("echo/1"), &b""[..], None).await);
    assert_code(&failure, ErrorCode::Refused);
    assert!(failure.message.contains("network"), "{failure}");
    let counted = one.counter("peers_other_network").await + two.counter("peers_other_network").await;
    assert!(counted >= 1);
    assert!(near.client.peers().await.unwrap().is_empty());
}
