//! The control socket: how commands reach the daemon. Frames of a `u32` little-endian length and a JSON document; the
//! first one is a [`Hello`] with the secret of `run/control.key`, answered by [`Answer::Done`]; then requests, one at a
//! time, each answered by one [`Answer`], but for logs, which are lines until [`Answer::Done`].
//!
//! [`server`] runs in the daemon, [`client`] in every other command. Both come from one binary, so this may change with
//! every version; [`VERSION`] tells a command that the daemon was started from another one.

pub mod caller;
pub mod client;
pub mod documents;
pub mod frames;
pub mod server;
mod socket;

use polypeer_ipc_protocol::ids::{NodeId, PluginId, Secret};
use polypeer_ipc_protocol::ticket::Ticket;
use serde::{Deserialize, Serialize};

use crate::cli_error::CliError;
use documents::{DoctorDocument, PeerDocument, PingDocument, PluginDocument, PluginLine, StatusDocument};

/// Of the messages below.
pub const VERSION: u32 = 1;

/// First frame of a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// From `run/control.key`.
    pub secret: Secret,
    /// [`VERSION`] of the caller.
    pub version: u32,
}

/// What a command can ask of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// → `Status`
    Status,
    /// → `Text`: the node id.
    Id,
    /// → `Text`: the ticket.
    Ticket,
    /// → `Peers`
    Peers,
    /// Remembers a peer and connects to it. → `Ping`
    AddPeer {
        /// Whom, and where.
        ticket: Ticket,
        /// For all of it.
        timeout_ms: u32,
    },
    /// Measures a round trip. → `Ping`
    Ping {
        /// Whom.
        ticket: Ticket,
        /// For all of it.
        timeout_ms: u32,
    },
    /// Cuts a peer off. → `Done`
    Block {
        /// Whom.
        node: NodeId,
    },
    /// Undoes a block. → `Done`
    Unblock {
        /// Whom.
        node: NodeId,
    },
    /// Keeps a peer connected, or stops doing so. → `Done`
    Protect {
        /// Whom.
        node: NodeId,
        /// Whether to.
        protected: bool,
    },
    /// Drops what is remembered of a peer. → `Done`
    Forget {
        /// Whom.
        node: NodeId,
    },
    /// → `Plugins`
    PluginList,
    /// → `Plugin`
    PluginInfo {
        /// Which.
        id: PluginId,
    },
    /// Installs what the operator has just approved. → `Plugin`
    PluginInstall {
        /// The folder, absolute.
        folder: String,
        /// Of what was shown; a folder that changed since is refused.
        digest: String,
        /// Whether to enable and start it.
        start: bool,
    },
    /// → `Plugin`, once it is ready
    PluginStart {
        /// Which.
        id: PluginId,
    },
    /// → `Plugin`, once it has stopped
    PluginStop {
        /// Which.
        id: PluginId,
    },
    /// → `Plugin`, once it is ready
    PluginRestart {
        /// Which.
        id: PluginId,
    },
    /// Starts it now and with the daemon. → `Plugin`
    PluginEnable {
        /// Which.
        id: PluginId,
    },
    /// Stops it now and leaves it stopped. → `Plugin`
    PluginDisable {
        /// Which.
        id: PluginId,
    },
    /// Uninstalls it; its data stays unless asked otherwise. → `Done`
    PluginRemove {
        /// Which.
        id: PluginId,
        /// Whether its data goes too.
        data: bool,
    },
    /// → `Line` for each, then `Done`
    PluginLogs {
        /// Which.
        id: PluginId,
        /// How many of the latest lines.
        lines: u32,
        /// Whether to go on with new lines until the connection ends.
        follow: bool,
    },
    /// Sets limits; without any just reports. → `Plugin`
    PluginLimit {
        /// Which.
        id: PluginId,
        /// Keys and values as typed; none as value goes back to the default.
        limits: Vec<(String, Option<String>)>,
    },
    /// Changes the list of peers for `peers = "list"`; without changes just reports. → `Plugin`
    PluginPeers {
        /// Which.
        id: PluginId,
        /// To put on it.
        add: Vec<NodeId>,
        /// To take from it.
        remove: Vec<NodeId>,
    },
    /// A launch of the plugin `operator`, for as long as this connection stands. → `Operator`
    Operator,
    /// What the daemon knows of its own health and, with a peer, of that one. → `Doctor`
    Doctor {
        /// About whom.
        peer: Option<NodeId>,
    },
    /// Stops everything in order. → `Done`, then the daemon ends
    Shutdown,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    /// It did not work.
    Trouble(CliError),
    /// It worked, and there is nothing more to say.
    Done,
    /// One value.
    Text(String),
    /// One of many lines.
    Line(String),
    /// The node.
    Status(Box<StatusDocument>),
    /// All peers.
    Peers(Vec<PeerDocument>),
    /// A peer answered.
    Ping(PingDocument),
    /// All plugins.
    Plugins(Vec<PluginLine>),
    /// One plugin.
    Plugin(Box<PluginDocument>),
    /// A session for the operator's commands.
    Operator {
        /// The gateway socket.
        gateway: String,
        /// What its `Hello` must show.
        token: Secret,
    },
    /// Findings.
    Doctor(DoctorDocument),
}

impl From<CliError> for Answer {
    fn from(error: CliError) -> Self {
        Self::Trouble(error)
    }
}
