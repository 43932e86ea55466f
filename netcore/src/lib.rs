//! The network core: finds peers, keeps links to them, and serves plugins. `../PROTOCOL.md` specifies the protocol
//! between two network cores; the messages of the gateway and of the admin session are in `polypeer-ipc-protocol`.
//!
//! ```text
//!            supervisor                            plugins                     peers
//!                │ admin session                      │ one socket per launch     │ UDP
//!  ┌─────────────▼────────────┐   ┌───────────────────▼──┐                       │
//!  │ admin ─► core ─► services│   │ gateway              │  sessions, what they  │
//!  └──────────────────────────┘   └───┬──────────────┬───┘  have and may have    │
//!     makes the parts, hands    opens │              │ asks                      │
//!     each what it uses       ┌───────▼─────┐   ┌────▼───────────────────────┐   │
//!                             │ streams     │   │ discovery gossip reach dht │   │ drivers of the machines in
//!                             └───────▲─────┘   └────┬───────────────────────┘   │ polypeer-engine
//!                           joins the │              │ ask and answer            │
//!                           two sides │         ┌────▼────┐                      │
//!                                     │         │ query   │  questions between netcores
//!                                     │         └────┬────┘                      │
//!                                 ┌───┴──────────────▼───┐                       │
//!                                 │ link                 │  control stream, credit, streams, datagrams
//!                                 └───┬──────────────┬───┘                       │
//!                                     │ bytes        │ connections               │
//!                                 ┌───▼──┐   ┌───────▼──────────────┐            │
//!                                 │ wire │   │ peers ─► transport ◄─┼────────────┘ one QUIC endpoint
//!                                 └──────┘   └──────────────────────┘
//! ```
//!
//! The modules form no dependency cycle. From top to bottom, each uses only those below it: [`admin`]; [`core`],
//! [`services`]; [`streams`]; [`gateway`]; [`discovery`], [`gossip`], [`reach`]; [`dht`]; [`query`]; [`link`];
//! [`wire`]; [`node`], the state that all of them share; [`peers`]; [`transport`]; [`plugins`], with grants and
//! accounts; [`identity`], [`limits`], [`counters`], [`clock`], [`logging`], `random` and [`open_files`]. A lower
//! module calls a higher one only through a callback: `OnEstablished` of peers, `LinkHandler` of links, `StreamOpener`
//! of the gateway, the table of handlers of queries.
//!
//! All of it runs on one thread, so that what comes from one socket leaves by another without waking a thread in
//! between; `main` makes the runtime. What blocks has threads of its own: the peer store, multicast, Mainline. Each
//! task does a bounded piece of work per poll and then lets the next one run.
//!
//! [`run`] is the whole process, except for its command line, the start of [`logging`], and [`open_files`].

// These macros panic when nobody reads the output, which must end no process.
#![warn(clippy::print_stdout, clippy::print_stderr)]

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
pub mod identity;
pub mod limits;
pub mod link;
pub mod logging;
pub mod node;
pub mod open_files;
pub mod peers;
pub mod plugins;
pub mod query;
mod random;
pub mod reach;
pub mod services;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::settings::InvalidSettings;
use polypeer_ipc_protocol::transport::admin::{AdminChannel, AdminEnd};

use admin::AdminError;
pub use core::Core;
use identity::IdentityError;
use limits::Timings;
use peers::StartError;

/// Options of a network core, beside the settings that the supervisor sends.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's folder, with its key and the remembered peers.
    pub home: PathBuf,
    /// Idle timeout of connections to peers.
    pub idle: Duration,
    /// Further timeouts.
    pub timings: Timings,
}

impl Options {
    /// The defaults, for a node in `home`.
    pub fn new(home: PathBuf) -> Self {
        Self { home, idle: transport::IDLE, timings: Timings::default() }
    }
}

/// Why a network core did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The supervisor sent settings that break a rule.
    #[error("use the settings")]
    Settings(#[from] InvalidSettings),
    /// The node's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The endpoint cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The admin session failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Runs a network core until its admin session ends; the supervisor is at the other end of `admin`. Call it within a
/// runtime.
pub async fn run(options: Options, admin: AdminEnd) -> Result<(), RunError> {
    let mut channel = AdminChannel::from_end(admin).map_err(|error| AdminError::Transport(error.into()))?;
    let Some((configure, settings)) = admin::settings(&mut channel).await? else { return Ok(()) };
    let (core, events) = Core::bind(options, settings).await?;
    admin::configured(&mut channel, configure).await?;
    tracing::info!(node = %core.node.id, "the network core is up and waits for its start");
    let core = Arc::new(core);
    let ended = admin::run(Arc::clone(&core), channel, events).await;
    core.peers.close(Instant::now() + GOODBYE).await;
    Ok(ended?)
}

/// Timeout for closing the links at the end. It matters when the supervisor has gone without `Shutdown`.
const GOODBYE: Duration = Duration::from_millis(300);
