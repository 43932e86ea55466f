//! The network core: finds peers, keeps links to them, and serves plugins. `../PROTOCOL.md` says what travels between
//! two of them; the gateway's and the admin session's messages are in `polypeer-ipc-protocol`.
//!
//! ```text
//!            supervisor                       plugins
//!                │ admin session                 │ one socket per launch
//!          ┌─────▼─────┐                   ┌─────▼─────┐
//!          │  admin    ├──► node ◄─────────┤  gateway  │  sessions, data connections, routing, local streams
//!          └─────┬─────┘    (state)        └─────┬─────┘
//!                │                               │ streams and calls
//!          ┌─────▼─────┐   Established     ┌─────▼─────┐
//!          │  peers    ├──────────────────►│   link    │  control stream, credit, streams on a connection
//!          └─────┬─────┘                   └─────┬─────┘
//!                │ dials, keeps                  │ quinn
//!          ┌─────▼───────────────────────────────▼─────┐
//!          │                transport                  │  one endpoint, sockets whose paths can change
//!          └───────────────────────────────────────────┘
//! ```
//!
//! [`grants`], [`account`] and [`counters`] hold what plugins may do, what they use, and what went wrong; [`limits`] has
//! every bound. [`run`] is the whole process but its command line and [`open_files`].

pub mod account;
pub mod admin;
pub mod clock;
pub mod core;
pub mod counters;
pub mod dht;
pub mod discovery;
#[cfg(test)]
#[path = "../engine/src/examples.rs"]
mod examples;
pub mod gateway;
pub mod gossip;
pub mod grants;
pub mod identity;
pub mod limits;
pub mod link;
pub mod node;
pub mod open_files;
pub mod peers;
pub mod query;
mod random;
pub mod reach;
pub mod services;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod wire;

pub use polypeer_engine::{address, bounded, keys, now, rate};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::transport::admin::{AdminChannel, AdminEnd};

use admin::AdminError;
pub use core::Core;
use discovery::config::DiscoveryConfig;
use identity::IdentityError;
use limits::Timings;
use peers::StartError;
use peers::marks::Marks;

/// What a network core is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's folder: its key and what it remembers of peers.
    pub home: PathBuf,
    /// Where to listen; empty for the default port of both families, or the next free one.
    pub listen: Vec<SocketAddr>,
    /// Whether to look for peers on the local network; off if this or [`DiscoveryConfig::lan`] is.
    pub lan: bool,
    /// The ways to find peers.
    pub discovery: DiscoveryConfig,
    /// The network's name: nodes of others are not talked to.
    pub network: String,
    /// How long a connection to a silent peer lives.
    pub idle: Duration,
    /// How many peers to have: `Marks::new(low, high)`.
    pub marks: Marks,
    /// The other waiting times.
    pub timings: Timings,
}

impl Options {
    /// The defaults, for a node in `home`.
    pub fn new(home: PathBuf) -> Self {
        Self {
            home,
            listen: Vec::new(),
            lan: true,
            discovery: DiscoveryConfig::default(),
            network: "main".to_owned(),
            idle: transport::IDLE,
            marks: Marks::default(),
            timings: Timings::default(),
        }
    }
}

/// Why a network core did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No network.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No supervisor.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Runs a network core whose supervisor is at the other end of `admin`, until that session ends. Must be called within
/// a multi-threaded runtime.
pub async fn run(options: Options, admin: AdminEnd) -> Result<(), RunError> {
    let channel = AdminChannel::from_end(admin).map_err(|error| AdminError::Transport(error.into()))?;
    let (core, events) = Core::bind(options).await?;
    tracing::info!(node = %core.node.id, "network core is up; waiting for the supervisor");
    let core = Arc::new(core);
    let ended = admin::run(Arc::clone(&core), channel, events).await;
    core.peers.close(Instant::now() + GOODBYE).await;
    Ok(ended?)
}

/// For telling peers that this node goes, when the supervisor has gone without asking for an ordered end.
const GOODBYE: Duration = Duration::from_millis(300);
