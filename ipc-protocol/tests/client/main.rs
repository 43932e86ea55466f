//! The client against a gateway that the test plays, over real sockets.
#![allow(clippy::panic, reason = "helpers of tests fail the test")]

mod services;
mod specification;
mod stream;
mod world;

use interprocess::local_socket::tokio::prelude::*;
use polypeer_ipc_protocol::client::{Client, ClientError};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{ClientFrame, Event, OpeningReply, Origin, Payload, Request, Response, Target};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::session::server::ServerEvent;
use polypeer_ipc_protocol::transport::{FrameWriter, connect, listen};
use world::{World, protocol, token};

#[tokio::test]
async fn refused_hello_tells_the_reason() {
    let world = World::new();
    let refuse = async {
        let mut io = world.listener.accept().await.expect("a connection");
        let reply = OpeningReply::Refused(Failure::new(ErrorCode::Unauthorised, "wrong token"));
        FrameWriter::new(&mut io).send(&reply).await.expect("written");
    };
    let (connected, ()) = tokio::join!(Client::connect(&world.path, token()), refuse);
    let error = connected.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused(failure) if failure.is(ErrorCode::Unauthorised)), "{error}");
}

#[tokio::test]
async fn nobody_listening_names_the_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("absent.sock");
    let error = connect(&path).await.expect_err("nothing there");
    assert!(error.to_string().contains("absent.sock"), "{error}");
    let long = folder.path().join("x".repeat(200));
    assert!(listen(&long).expect_err("too long").to_string().contains("xxx"));
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let call = |text: &'static str| client.call(Target::Local, protocol(), text, None);
    let serve = async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(session.request().await);
        }
        for (id, request) in asked.into_iter().rev() {
            let Request::Call { payload, .. } = request else { panic!("not a call: {request:?}") };
            session.respond(id, Response::Reply { payload }).await;
        }
    };
    let (one, two, three, ()) = tokio::join!(call("one"), call("two"), call("three"), serve);
    assert_eq!(
        (&one.expect("1")[..], &two.expect("2")[..], &three.expect("3")[..]),
        (&b"one"[..], &b"two"[..], &b"three"[..])
    );
}

#[tokio::test]
async fn call_that_nobody_waits_for_any_more_is_cancelled() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(Target::Local, protocol(), "slow", None).await });
    let (id, _) = session.request().await;
    call.abort();
    assert_eq!(session.next().await, Some(ServerEvent::Frame(ClientFrame::Cancel { id })));
    session.respond(id, Response::Failed(ErrorCode::Cancelled.into())).await;
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let (id, _) = session.request().await;
        session.respond(id, Response::Done).await;
    });
    pinged.expect("the session goes on");
}

#[tokio::test]
async fn too_large_call_fails_alone() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let error = client.call(Target::Local, protocol(), vec![0; (64 << 10) + 1], None).await.expect_err("too large");
    assert!(error.failure().is(ErrorCode::TooLarge), "{error}");
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let (id, _) = session.request().await;
        session.respond(id, Response::Done).await;
    });
    pinged.expect("the session goes on");
}

#[tokio::test]
async fn end_of_the_session_reaches_everybody_who_waits() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    let closing = Failure::new(ErrorCode::Superseded, "a newer session took over");
    let (pinged, ()) = tokio::join!(client.ping(), async {
        session.request().await;
        session.machine.close(closing.clone(), &mut session.out);
        session.flush().await;
    });
    assert!(matches!(pinged, Err(ClientError::Ended(failure)) if failure == closing));
    assert_eq!(events.next().await, Some(Event::Closing(closing.clone())));
    assert_eq!(events.next().await, None);
    assert_eq!(client.ended().await, closing);
    assert!(matches!(client.ping().await, Err(ClientError::Ended(_))));
}

#[tokio::test]
async fn netcore_killed_is_connection_lost() {
    let world = World::new();
    let (client, mut events, session) = world.session().await;
    drop(session);
    assert!(client.ended().await.is(ErrorCode::ConnectionLost));
    assert!(matches!(events.next().await, Some(Event::Closing(failure)) if failure.is(ErrorCode::ConnectionLost)));
}

#[tokio::test]
async fn dropped_client_closes_the_session() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    drop(client);
    assert_eq!(session.next().await, None);
}

#[tokio::test]
async fn events_beyond_the_limit_are_counted_and_their_senders_told() {
    let world = World::new();
    let (client, mut events, mut session) = world.session().await;
    for stream in 0..513 {
        session.event(Event::Stream { stream, origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() }).await;
    }
    let (id, request) = session.request().await;
    assert!(matches!(request, Request::RefuseStream { stream: 512, .. }), "{request:?}");
    session.respond(id, Response::Done).await;
    assert_eq!(events.next().await, Some(Event::Dropped { count: 1 }));
    assert!(matches!(events.next().await, Some(Event::Stream { stream: 0, .. })));
    drop(client);
}

#[tokio::test]
async fn payload_is_shared_not_shown() {
    assert_eq!(format!("{:?}", Payload(vec![1, 2, 3].into())), "Payload(3 bytes)");
    assert_eq!(format!("{:?}", token()), "Secret(…)");
}
