//! The control socket: requests of commands to the daemon. Frames are a `u32` little-endian length and a JSON document.
//! The first one is a [`Hello`] with the secret of `run/control.key`, answered by [`Answer::Done`]; then requests
//! follow, one at a time. Each is answered by one [`Answer`]. Logs are lines until [`Answer::Done`]; where something
//! takes long, [`Answer::Progress`] comes before its answer.
//!
//! [`server`] runs in the daemon, [`client`] in every other command. Both are of the same binary, so the messages may
//! change with every version; [`VERSION`] tells a command that the daemon was started from another one. [`caller`]
//! refuses callers that the supervisor started; [`places`] limits how many connections there are of each kind.
//! [`documents`] has what `--json` prints.

pub mod caller;
pub mod client;
pub mod documents;
pub mod frames;
pub mod known;
pub mod places;
pub mod sample;
pub mod server;
pub(crate) mod socket;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::{NodeId, PluginId, Secret};
use serde::{Deserialize, Serialize};

use crate::cli_error::CliError;
use crate::config::{Level, Target};
use crate::install::Way;
use crate::petname::Petname;
use documents::{
    DoctorDocument, Leftover, LogLevelDocument, PluginDocument, PluginLine, ReloadDocument, SettingDocument,
    StatusDocument,
};
use known::KnownPeers;
use sample::Sample;

/// Version of the messages below.
pub const VERSION: u32 = 5;

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
    /// A request to the network core, passed on if [`AdminRequest::is_for_operators`]. → `Net`
    Net { request: AdminRequest },
    /// → `Sample`
    Sample,
    /// → `KnownPeers`
    KnownPeers,
    /// Names a peer, or without a name removes the one it has. → `Done`
    PeerName { node: NodeId, name: Option<Petname> },
    /// → `Plugins`
    PluginList,
    /// → `Plugin`
    PluginInfo { id: PluginId },
    /// Installs what the operator has just approved. → `Plugin`
    PluginInstall {
        /// Absolute path of the folder.
        folder: String,
        /// Digest of what was shown; a folder that changed since is refused.
        digest: String,
        way: Way,
        /// Whether to enable and start it.
        start: bool,
    },
    /// → `Plugin`, once it is ready
    PluginStart { id: PluginId },
    /// → `Plugin`, once it has stopped
    PluginStop { id: PluginId },
    /// → `Plugin`, once it is ready
    PluginRestart { id: PluginId },
    /// Starts it now and with the daemon. → `Plugin`
    PluginEnable { id: PluginId },
    /// Stops it now and leaves it stopped. → `Plugin`
    PluginDisable { id: PluginId },
    /// Uninstalls it; with `data`, one that is not installed any more may have left something. → `Leftovers`: what is
    /// left of it
    PluginRemove {
        id: PluginId,
        /// Whether its data and its log are deleted, too.
        data: bool,
    },
    /// What removed plugins left behind. → `Leftovers`
    PluginLeftovers,
    /// → `Line` for each, then `Done`
    PluginLogs {
        id: PluginId,
        /// Number of the latest lines to begin with.
        lines: u32,
        /// Whether new lines follow until the connection ends.
        follow: bool,
    },
    /// Sets limits; without any it only reports. → `Plugin`
    PluginLimit {
        id: PluginId,
        /// Keys and values as typed; without a value the default applies again.
        limits: Vec<(String, Option<String>)>,
    },
    /// Changes which peers a plugin communicates with: `listed_only` for one whose manifest says `peers = "any"`, and
    /// the list of peers. Without changes it only reports. → `Plugin`
    PluginPeers { id: PluginId, listed_only: Option<bool>, add: Vec<NodeId>, remove: Vec<NodeId> },
    /// A launch of the plugin `operator`, a lease that ends with this connection. → `Operator`
    Operator,
    /// Checks of the daemon's health and, if `peer` is given, of the path to that peer. → `Doctor`
    Doctor { peer: Option<NodeId> },
    /// The value of every setting and where it comes from. → `Settings`
    Settings,
    /// Reads `config.toml` again. → `Reloaded`
    Reload,
    /// Changes levels of the log; without changes it only reports. → `LogLevel`
    LogLevel {
        changes: Vec<LevelChange>,
        /// Whether the levels of the configuration are restored first.
        reset: bool,
    },
    /// Stops everything in order. → `Done`, then the daemon ends
    Shutdown,
}

/// A new level of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelChange {
    /// Absent: all that has no level of its own.
    pub target: Option<Target>,
    pub level: Level,
}

impl Request {
    /// Whether it takes as long as its caller wants. The others end by themselves.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Operator | Self::PluginLogs { follow: true, .. })
    }
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    Trouble(CliError),
    /// Success without a result.
    Done,
    Text(String),
    /// What is going on, for people; the answer follows.
    Progress(String),
    /// One of many lines.
    Line(String),
    Status(Box<StatusDocument>),
    /// The network core's response, never `Failed`.
    Net(Box<AdminResponse>),
    Sample(Box<Sample>),
    KnownPeers(Box<KnownPeers>),
    Plugins(Vec<PluginLine>),
    Plugin(Box<PluginDocument>),
    Leftovers(Vec<Leftover>),
    /// A launch for the operator's commands.
    Operator {
        /// Path of the gateway socket.
        gateway: String,
        /// What its `Hello` must show.
        token: Secret,
    },
    Doctor(DoctorDocument),
    Settings(Vec<SettingDocument>),
    Reloaded(ReloadDocument),
    LogLevel(LogLevelDocument),
}

impl From<CliError> for Answer {
    fn from(error: CliError) -> Self {
        Self::Trouble(error)
    }
}
