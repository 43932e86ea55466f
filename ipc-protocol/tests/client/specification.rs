//! The plugin in `SPEC.md`, which uses no SDK, works as the specification says.

use std::process::Stdio;

use interprocess::local_socket::tokio::prelude::*;
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Opening, OpeningReply, Origin, Request, Response, Scope};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::transport::{FrameReader, FrameWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, header, protocol, send, token};

fn program() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SPEC.md");
    let text = std::fs::read_to_string(path).expect("SPEC.md is there");
    let (_, rest) = text.split_once("```python\n").expect("the program is there");
    rest.split_once("\n```").expect("the program ends").0.to_owned()
}

#[tokio::test]
async fn plugin_of_the_specification_echoes() {
    let world = World::new();
    let mut plugin = tokio::process::Command::new("python3")
        .args(["-c", &program()])
        .env("POLYPEER_GATEWAY", &world.path)
        .env("POLYPEER_TOKEN", token().to_text())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is needed, as for the Python SDK");

    let mut session = world.greet().await;
    let (id, request) = session.request().await;
    assert_eq!(request, Request::Listen { protocol: protocol(), scope: Scope::Peers, calls: CallMode::Streams });
    session.respond(id, Response::Done).await;
    session.event(Event::Dropped { count: 1 }).await;
    session.event(Event::Stream { stream: 7, origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() }).await;

    let mut io = world.listener.accept().await.expect("a data connection");
    let mut reader = FrameReader::new(&mut io);
    let body = reader.next().await.expect("read").expect("a frame");
    assert_eq!(decode::opening(body).expect("valid"), Opening::Accept { secret: session.secret(), stream: 7 });
    let reply = OpeningReply::Opened { origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() };
    FrameWriter::new(&mut io).send(&reply).await.expect("written");
    send(&mut io, DataHeader::Data(5), b"hello").await;
    assert_eq!(header(&mut io).await, DataHeader::Data(5));
    let mut echoed = [0; 5];
    io.read_exact(&mut echoed).await.expect("echoed");
    assert_eq!(&echoed, b"hello");
    send(&mut io, DataHeader::Fin, b"").await;
    assert_eq!(header(&mut io).await, DataHeader::Fin);
    io.shutdown().await.expect("a no-op");
    drop(io);

    drop(session);
    let status = plugin.wait().await.expect("it ends with the session");
    assert!(status.success(), "{status}");
}
