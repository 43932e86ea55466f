//! The configuration of a node's connections to peers, and why they cannot start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use polypeer_engine::peers::watermarks::Marks;

use crate::identity::Identity;
use crate::transport::{BindError, IDLE};

/// The configuration of a node's connections to peers.
#[derive(Debug)]
pub struct PeersConfig {
    /// The node's folder, which holds `peers.db`.
    pub home: PathBuf,
    /// The node's key.
    pub identity: Arc<Identity>,
    /// Addresses to listen on; empty: the default port of both families.
    pub listen: Vec<SocketAddr>,
    /// Whether a busy port is an error, rather than a reason to take the next one.
    pub explicit_listen: bool,
    /// Whether to dial peers known from earlier runs. They are remembered either way.
    pub remembered: bool,
    /// The name of the network; nodes of other networks do not get a query connection.
    pub network: String,
    /// Idle timeout of a connection; [`IDLE`] outside of tests.
    pub idle: Duration,
    /// The watermarks and the limits per host and subnet.
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

/// Why the connections to peers cannot start. Every text ends in a remedy, or says that the process is stopping.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The task that opens the peer store did not finish: the runtime is shutting down.
    #[error("open the peer store: this process is stopping")]
    Store,
}
