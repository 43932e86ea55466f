//! One conversation through the gateway, with nothing in it that only one system has: the real network core as a
//! process, real sessions on its sockets. What differs is in `unix` and `windows`. `make check-windows` runs it under
//! Wine.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminCommand, AdminFrame, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::{Client, Events};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Grants, PeerScope, Scope, Target};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use polypeer_ipc_protocol::transport::admin::{AdminChannel, Handover};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// For anything that must happen; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network core and its admin session.
struct Node {
    channel: AdminChannel,
    process: Child,
    next: u64,
    home: TempDir,
}

impl Node {
    async fn start() -> Self {
        let home = TempDir::new().expect("a folder");
        let (channel, process) = system::start(home.path());
        let mut node = Self { channel, process, next: 0, home };
        // Alone on a port of its own.
        let discovery = DiscoverySettings { lan: false, ..DiscoverySettings::default() };
        let listen = vec!["127.0.0.1:0".parse().expect("an address")];
        let settings = NetSettings { listen, discovery, ..NetSettings::default() };
        assert_eq!(node.ask(AdminRequest::Configure(Box::new(settings)), None).await, AdminResponse::Done);
        assert_eq!(node.ask(AdminRequest::Start, None).await, AdminResponse::Done);
        node
    }

    async fn ask(&mut self, request: AdminRequest, attached: Option<&Handover>) -> AdminResponse {
        self.next += 1;
        let asked = self.next;
        self.channel.send(&AdminCommand { id: asked, request }, attached).await.expect("sent");
        let answer = async {
            loop {
                match self.channel.recv().await.expect("valid") {
                    Some((AdminFrame::Response { id, response }, _)) if id == asked => return response,
                    Some(_) => {}
                    None => panic!("the network core is gone"),
                }
            }
        };
        timeout(PATIENCE, answer).await.expect("an answer")
    }

    /// A session of a plugin that may do everything.
    async fn plugin(&mut self, launch: u64) -> (Client, Events) {
        let (address, _kept) = self.launch(launch).await;
        let session = Client::connect(&address, Secret([launch as u8; 32]));
        timeout(PATIENCE, session).await.expect("in time").expect("welcome")
    }

    async fn launch(&mut self, launch: u64) -> (PathBuf, Handover) {
        let (address, handover) = system::gateway(self.home.path(), launch);
        let all = || vec!["*".parse().expect("a pattern")];
        let grants =
            Grants { serve: all(), dial: all(), serve_local: all(), peers: PeerScope::Any, ..Grants::default() };
        let plugin = format!("plugin-{launch}").parse().expect("an id");
        let request = AdminRequest::AddLaunch { launch, plugin, token: Secret([launch as u8; 32]), grants };
        assert_eq!(self.ask(request, Some(&handover)).await, AdminResponse::Done);
        (address, handover)
    }

    /// What another dials this node by.
    async fn target(&mut self) -> Target {
        let AdminResponse::Ticket(ticket) = self.ask(AdminRequest::Ticket, None).await else { panic!("no ticket") };
        Target::Ticket(ticket)
    }

    async fn stop(mut self) {
        assert_eq!(self.ask(AdminRequest::Shutdown { grace_ms: 0 }, None).await, AdminResponse::Done);
        drop(self.channel);
        let status = timeout(PATIENCE, self.process.wait()).await.expect("in time").expect("waited for");
        assert!(status.success(), "{status}");
    }
}

fn protocol() -> Protocol {
    "test/1".parse().expect("a protocol")
}

/// A call, then a stream with a megabyte each way and an end each way.
async fn converse(near: &Client, (far, events): &mut (Client, Events), target: Target) {
    let call = near.call(target.clone(), protocol(), "ping".as_bytes().to_vec(), None);
    let answer = async {
        let Some(Event::Call { call, payload, .. }) = events.next().await else { panic!("a call was expected") };
        assert_eq!(&payload.0[..], b"ping");
        far.answer(call, b"pong".to_vec()).await.expect("answered");
    };
    let (reply, ()) = timeout(PATIENCE, async { tokio::join!(call, answer) }).await.expect("a call in time");
    assert_eq!(&reply.expect("a reply")[..], b"pong");

    let opening = near.open(target, protocol(), None);
    let claiming = async {
        let Some(Event::Stream { stream, .. }) = events.next().await else { panic!("a stream was expected") };
        far.accept(stream).await.expect("claimed")
    };
    let (opened, mut there) = timeout(PATIENCE, async { tokio::join!(opening, claiming) }).await.expect("in time");
    let mut here = opened.expect("open");
    let (question, answer) = (vec![1; 1 << 20], vec![2; 1 << 20]);
    let asking = async {
        here.write_all(&question).await.expect("written");
        here.shutdown().await.expect("ended");
        let mut read = Vec::new();
        here.read_to_end(&mut read).await.expect("read to the end");
        read
    };
    let answering = async {
        let mut read = Vec::new();
        there.read_to_end(&mut read).await.expect("read to the end");
        there.write_all(&answer).await.expect("written");
        there.shutdown().await.expect("ended");
        read
    };
    let (answered, asked) = timeout(PATIENCE, async { tokio::join!(asking, answering) }).await.expect("in time");
    assert!(asked == question && answered == answer, "what was written is what was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_plugins_of_one_node_converse() {
    let mut node = Node::start().await;
    let near = node.plugin(1).await;
    let mut far = node.plugin(2).await;
    far.0.listen(protocol(), Scope::Local, CallMode::Events).await.expect("listening");
    converse(&near.0, &mut far, Target::Local).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_of_two_nodes_converse() {
    let (mut one, mut two) = (Node::start().await, Node::start().await);
    let near = one.plugin(1).await;
    let mut far = two.plugin(1).await;
    far.0.listen(protocol(), Scope::Peers, CallMode::Events).await.expect("listening");
    converse(&near.0, &mut far, two.target().await).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_token_is_refused_with_its_reason() {
    let mut node = Node::start().await;
    let (address, _kept) = node.launch(1).await;
    let refused = timeout(PATIENCE, Client::connect(&address, Secret([9; 32]))).await.expect("in time");
    assert_eq!(refused.expect_err("refused").failure().code, ErrorCode::Unauthorised.number());
    node.stop().await;
}
