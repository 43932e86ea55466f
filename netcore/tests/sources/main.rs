//! Sources of peers between network cores that are processes of their own, each with one source and no other.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/mod.rs"]
mod common;
mod mainline;
#[path = "../common/names.rs"]
mod names;
mod system;

use std::net::SocketAddr;
use std::sync::Arc;

use common::Netcore;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse, PeerRecord};
use polypeer_ipc_protocol::ids::NodeId;
use tempfile::TempDir;

/// What a network core is started with that has no source of peers.
const NO_SOURCE: [&str; 5] = ["--no-lan", "--no-remembered", "--no-builtin", "--no-exchange", "--no-dht"];

/// A process on a port of its own, started by the command `by`, with these options and without any other source.
async fn start(by: &[&str], options: &[String]) -> Netcore {
    let alone = NO_SOURCE.into_iter().chain(["--listen", "127.0.0.1:0"]).map(str::to_owned);
    let options: Vec<_> = alone.chain(options.iter().cloned()).collect();
    let netcore = Netcore::spawn_by(by, Arc::new(TempDir::new().unwrap()), &options);
    assert_eq!(netcore.ask(AdminRequest::Start).await, AdminResponse::Done);
    netcore
}

async fn address(netcore: &Netcore) -> SocketAddr {
    netcore.ticket().await.addresses[0]
}

/// What `netcore` says of `peer`.
async fn record(netcore: &Netcore, peer: NodeId) -> PeerRecord {
    let AdminResponse::Peers(peers) = netcore.ask(AdminRequest::Peers).await else { panic!("no peers") };
    peers.into_iter().find(|record| record.node == peer).expect("the peer is known")
}
