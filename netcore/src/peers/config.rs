//! What a node's network side is made from, and why it cannot be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use polypeer_engine::peers::watermarks::Marks;

use crate::identity::Identity;
use crate::transport::{BindError, IDLE};

/// What a node's network side is made from.
#[derive(Debug)]
pub struct PeersConfig {
    /// The node's folder; `peers.db` is kept there.
    pub home: PathBuf,
    /// Its key.
    pub identity: Arc<Identity>,
    /// Where to listen; empty: the default port of both families.
    pub listen: Vec<SocketAddr>,
    /// Whether a busy port is an error, rather than a reason to take the next one.
    pub explicit_listen: bool,
    /// Whether to dial peers known from earlier runs. They are remembered either way.
    pub remembered: bool,
    /// The network's name: nodes of others ask this one nothing.
    pub network: String,
    /// How long a silent connection lives; [`IDLE`] outside of tests.
    pub idle: Duration,
    /// How many peers to have, and how many from where.
    pub marks: Marks,
}

impl PeersConfig {
    /// The defaults: both families, remembered peers are dialed.
    pub fn new(home: PathBuf, identity: Arc<Identity>) -> Self {
        Self {
            home,
            identity,
            listen: Vec::new(),
            explicit_listen: false,
            remembered: true,
            network: "main".to_owned(),
            idle: IDLE,
            marks: Marks::default(),
        }
    }
}

/// Why the network side of a node cannot start. Every text ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The task that opens it did not finish: the runtime is shutting down.
    #[error("open the peer store: this process is stopping")]
    Store,
}
