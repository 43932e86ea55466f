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

use common::{Netcore, alone};
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse, PeerRecord};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use tempfile::TempDir;

/// A process on a port of its own, started by the command `by`, with these sources.
async fn start(by: &[&str], discovery: DiscoverySettings) -> Netcore {
    let settings = NetSettings { discovery, ..alone() };
    let netcore = Netcore::spawn_by(by, Arc::new(TempDir::new().unwrap()), settings).await;
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
