//! Tests that every kind of use ends when the plugin's grants no longer cover it.

use std::time::Duration;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Grants, Origin, PeerScope, Request, Response, Scope, Validation};
use polypeer_ipc_protocol::ids::{Hash, Name, PluginId, Secret};
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tempfile::TempDir;

use super::*;
use crate::gateway::launch::Launch;
use crate::gateway::launch::session::Session;
use crate::gateway::requests::{self, Handled};
use crate::plugins::grants::Use;
use polypeer_engine::dht::Key;
use polypeer_engine::gateway::router::Route;

const PEER: NodeId = NodeId([9; 32]);

fn protocol() -> Protocol {
    "chat/1".parse().unwrap()
}

fn name() -> Name {
    "chat/room".parse().unwrap()
}

fn plugin() -> PluginId {
    "chat".parse().unwrap()
}

/// One use of every kind. A new kind does not compile until it is in this chain and in [`World::loses`].
fn every_use() -> impl Iterator<Item = Use> {
    std::iter::successors(Some(Use::Listen(Scope::Peers, protocol())), |used| match used {
        Use::Listen(..) => Some(Use::Serve(Origin::Peer(PEER), protocol())),
        Use::Serve(..) => Some(Use::ServeOperator(protocol())),
        Use::ServeOperator(_) => Some(Use::Dial(PEER, protocol())),
        Use::Dial(..) => Some(Use::DialLocal(protocol())),
        Use::DialLocal(_) => Some(Use::SendDatagram(PEER, protocol())),
        Use::SendDatagram(..) => Some(Use::ReceiveDatagrams(protocol())),
        Use::ReceiveDatagrams(_) => Some(Use::Publish(name())),
        Use::Publish(_) => Some(Use::Subscribe(name())),
        Use::Subscribe(_) => Some(Use::Record(name())),
        Use::Record(_) => Some(Use::Keep(name())),
        Use::Keep(_) => Some(Use::Provide(name())),
        Use::Provide(_) => Some(Use::Find(PEER)),
        Use::Find(_) => Some(Use::WatchPeers),
        Use::WatchPeers => Some(Use::WatchNetwork),
        Use::WatchNetwork => None,
    })
}

/// A network core without peers, and a session of a plugin with all grants.
struct World {
    core: Core,
    session: Arc<Session>,
    _events: mpsc::Receiver<AdminEvent>,
    _home: TempDir,
}

impl World {
    async fn new() -> Self {
        let home = TempDir::new().unwrap();
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let discovery = DiscoverySettings { lan: false, ..DiscoverySettings::default() };
        let settings = NetSettings { listen, discovery, ..NetSettings::default() };
        let (core, events) = Core::bind(Options::new(home.path().to_owned()), settings).await.unwrap();
        let everything = || vec!["*".parse().unwrap()];
        let grants = Grants {
            serve: everything(),
            dial: everything(),
            serve_local: everything(),
            peers: PeerScope::Any,
            topics: everything(),
            dht: everything(),
            ..Grants::default()
        };
        let launch = Arc::new(Launch::new(1, core.node.accounts.of(&plugin()), Secret([0; 32]), grants));
        core.hub.launches().insert(1, Arc::clone(&launch));
        let session = Arc::new(Session::new(core.node.number(), Arc::clone(&launch), Secret([1; 32])));
        launch.begin_session(Arc::clone(&session)).unwrap();
        Self { core, session, _events: events, _home: home }
    }

    async fn ask(&self, request: Request) -> Response {
        match requests::handle(&self.core.hub, &self.core.opener, &self.session, request) {
            Handled::Now(response) | Handled::AfterEvents(response) => response,
            Handled::Later(work) => work.await,
        }
    }

    async fn done(&self, request: Request) {
        let response = self.ask(request).await;
        assert!(!matches!(response, Response::Failed(_)), "{response:?}");
    }

    async fn fails(&self, request: Request, code: ErrorCode) {
        match self.ask(request).await {
            Response::Failed(failure) => assert!(failure.is(code), "{failure}"),
            other => panic!("{other:?}"),
        }
    }

    fn holds(&self, used: &Use) -> bool {
        self.session.launch.uses().contains(used)
    }

    /// Takes all grants from the plugin.
    fn revoke(&self) {
        self.core.hub.set_grants(&plugin(), &Grants::default());
    }

    /// Revokes a standing use and asserts that its holder releases it.
    fn loses_its_hold(&self, used: &Use) {
        assert!(self.holds(used), "{used:?} is not held");
        self.revoke();
        assert!(!self.holds(used), "{used:?} is still held");
    }

    /// Begins the use, revokes its grant, and asserts that the use ends.
    async fn loses(&self, used: &Use) {
        let Core { hub, node, services, .. } = &self.core;
        match used {
            Use::Listen(scope, protocol) => {
                let listen = Request::Listen { protocol: protocol.clone(), scope: *scope, calls: CallMode::Events };
                self.done(listen.clone()).await;
                let route = || hub.router().route(&(*scope, protocol.clone()), None, std::time::Instant::now());
                assert!(matches!(route(), Route::To(..)));
                self.loses_its_hold(used);
                assert!(matches!(route(), Route::NotServed));
                self.fails(listen, ErrorCode::NotGranted).await;
            }
            // The task that carries a stream, makes a call or serves a request also waits for the revocation.
            Use::Serve(..)
            | Use::ServeOperator(_)
            | Use::Dial(..)
            | Use::DialLocal(_)
            | Use::Record(_)
            | Use::Find(_) => {
                let mut active = self.session.launch.begin(&node.counters, used.clone()).unwrap();
                self.revoke();
                let code = active.revoked().await;
                assert!(matches!(code, ErrorCode::NotGranted | ErrorCode::PeerNotAllowed), "{code:?}");
                drop(active);
                assert!(!self.holds(used));
            }
            Use::SendDatagram(peer, protocol) => {
                let datagram =
                    || Request::SendDatagram { node: *peer, protocol: protocol.clone(), payload: vec![1].into() };
                self.fails(datagram(), ErrorCode::Unreachable).await;
                self.revoke();
                self.fails(datagram(), ErrorCode::NotGranted).await;
            }
            Use::ReceiveDatagrams(protocol) => {
                self.done(Request::ReceiveDatagrams { protocol: protocol.clone(), on: true }).await;
                let datagram = || gateway::datagrams::deliver(hub, PEER, protocol.clone(), Bytes::from_static(b"hi"));
                datagram();
                assert_eq!(node.counters.datagrams_unwanted.value(), 0);
                self.loses_its_hold(used);
                datagram();
                assert_eq!(node.counters.datagrams_unwanted.value(), 1);
            }
            Use::Publish(topic) => {
                let publish = || Request::Publish { topic: topic.clone(), payload: vec![1].into() };
                self.done(publish()).await;
                self.revoke();
                self.fails(publish(), ErrorCode::NotGranted).await;
            }
            Use::Subscribe(topic) => {
                self.done(Request::Subscribe { topic: topic.clone(), validation: Validation::Signature }).await;
                self.done(Request::Topic { topic: topic.clone() }).await;
                self.loses_its_hold(used);
                self.fails(Request::Topic { topic: topic.clone() }, ErrorCode::BadArgument).await;
                until(async || services.gossip.info(0, topic.clone()).await.is_err()).await;
            }
            Use::Keep(name) => {
                let put = Request::PutImmutable { name: name.clone(), value: vec![1].into(), timeout_ms: 5000 };
                self.fails(put, ErrorCode::Unreachable).await; // no peer can hold the record yet; the node retries
                let key = Key::of_immutable(name, &Hash(Key::value_hash(&[1]).0));
                let deadline = || std::time::Instant::now() + Duration::from_secs(5);
                assert!(services.dht.get(key, deadline()).await.unwrap().is_some());
                self.loses_its_hold(used);
                until(async || services.dht.get(key, deadline()).await.is_err()).await;
            }
            Use::Provide(name) => {
                self.done(Request::Provide { name: name.clone(), timeout_ms: 5000 }).await;
                self.loses_its_hold(used);
                self.fails(Request::Unprovide { name: name.clone() }, ErrorCode::BadArgument).await;
            }
            // Watching needs no grant. Each event about a peer is checked, and after a change of grants the plugin is
            // told which peers became visible or hidden.
            Use::WatchPeers | Use::WatchNetwork => {
                let watch = |on| match used {
                    Use::WatchPeers => Request::WatchPeers { on },
                    _ => Request::WatchNetwork { on },
                };
                self.done(watch(true)).await;
                self.revoke();
                assert!(self.holds(used));
                self.done(watch(false)).await;
                assert!(!self.holds(used));
            }
        }
    }
}

async fn until(mut check: impl AsyncFnMut() -> bool) {
    let checked = async {
        while !check().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), checked).await.expect("it happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_use_ends_with_its_grant() {
    for used in every_use() {
        World::new().await.loses(&used).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_holds_ends_with_it_and_not_with_its_launch() {
    let world = World::new().await;
    let used = Use::Listen(Scope::Local, protocol());
    world.done(Request::Listen { protocol: protocol(), scope: Scope::Local, calls: CallMode::Events }).await;
    world.core.hub.remove_launch(1).unwrap();
    assert!(world.holds(&used), "until its task has seen that the session is over");
    world.core.hub.router().handle_session_ended(world.session.id, std::time::Instant::now());
    assert!(!world.holds(&used));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_launch_that_is_over_ends_with_the_grant_too() {
    let world = World::new().await;
    let put = Request::PutImmutable { name: name(), value: vec![1].into(), timeout_ms: 5000 };
    world.fails(put, ErrorCode::Unreachable).await;
    world.core.hub.remove_launch(1).unwrap();
    world.loses_its_hold(&Use::Keep(name()));
}
