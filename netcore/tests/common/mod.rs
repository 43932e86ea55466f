//! Plays the supervisor for a real network core: starts it with its admin session, mints launches with their sockets,
//! and hands out plugins that speak to it through the gateway's client.

mod deaf;
mod netcore;
mod patience;
mod plugin;
mod streams;

use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::ClientError;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, Origin, PeerScope, Target};
use polypeer_ipc_protocol::ids::{Name, NodeId, Protocol};

#[allow(unused_imports, reason = "not every test program has a deaf plugin")]
pub use deaf::Deaf;
pub use netcore::Netcore;
#[allow(unused_imports, reason = "most test programs have no settings of their own")]
pub use netcore::alone;
#[allow(unused_imports, reason = "most test programs have no deadlines of their own")]
pub use patience::PATIENCE as DEADLINE;
pub use patience::within;
pub use plugin::{Launch, Plugin};
#[allow(unused_imports, reason = "not every test program has streams")]
pub use streams::{bytes, read_code, stream_between, write_code};

/// Polls until `check` gives something.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(result) = check().await {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub fn protocol(name: &str) -> Protocol {
    name.parse().unwrap()
}

/// Everything, with every peer.
pub fn all() -> Grants {
    Grants {
        serve: vec!["*".parse().unwrap()],
        dial: vec!["*".parse().unwrap()],
        serve_local: vec!["*".parse().unwrap()],
        peers: PeerScope::Any,
        topics: vec!["*".parse().unwrap()],
        dht: vec!["*".parse().unwrap()],
        ..Grants::default()
    }
}

/// The target for a netcore of this test.
pub async fn target(netcore: &Netcore) -> Target {
    Target::Ticket(netcore.ticket().await)
}

pub fn peer_of(origin: &Origin) -> NodeId {
    match origin {
        Origin::Peer(node) => *node,
        Origin::Local(_) => panic!("a local origin"),
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The request must be refused with this code.
pub async fn refused<T: std::fmt::Debug>(
    asked: impl Future<Output = Result<T, ClientError>>,
    code: ErrorCode,
) -> Failure {
    let failure = refusal(within("an answer", asked).await);
    assert!(failure.is(code), "expected {code}, got {failure}");
    failure
}

/// Gives a plugin's launch other grants, and waits until it is told.
pub async fn regrant(netcore: &Netcore, plugin: &mut Plugin, grants: Grants) {
    let request = AdminRequest::SetGrants { plugin: plugin.launch.id.clone(), grants: grants.clone() };
    assert_eq!(netcore.ask(request).await, AdminResponse::Done);
    assert_eq!(plugin.event().await, Event::GrantsChanged(grants));
}

/// The code a request was refused with.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Failure {
    result.expect_err("it had to be refused").failure()
}

/// Connects two netcores, `one` dialing, and waits until both say so.
pub async fn connected(one: &Netcore, two: &Netcore) {
    let answer = one.ask(AdminRequest::Ping { ticket: two.ticket().await, timeout_ms: 30_000 }).await;
    assert!(matches!(answer, AdminResponse::Pong { .. }), "{answer:?}");
    two.event(&AdminEvent::PeerUp { node: one.ticket().await.node }).await;
}
