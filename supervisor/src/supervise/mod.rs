//! The supervisor: one task that owns netcore, the plugins and their launches, and [`Supervisor`], the handle to it.
//!
//! ```text
//!  daemon ──► Supervisor ──commands──► Task ──► process::watch ──► init ──► plugin, netcore
//!                 │                    │ ▲            │
//!                 │                    │ └── events ──┘
//!                 └────── admin ──► AdminHandle ══admin session══ netcore
//! ```
//!
//! [`lifecycle`] and [`restarts`] decide when a child starts, stops and restarts, [`pulse`] when it counts as
//! unresponsive; all are pure. The folder `task` is the task. `gateway` is a plugin's listening socket, `environment` a
//! child's environment variables. `host` has what differs per system: control groups, reaper, subreaper.

mod control;
mod environment;
mod error;
mod gateway;
mod host;
mod launch;
pub mod lifecycle;
mod order;
mod plugin;
pub mod programs;
pub mod pulse;
pub mod restarts;
mod status;
mod task;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use crate::netcore::NetcoreStatus;
pub use environment::path as plugin_path;
pub use error::{LimitError, StartError};
pub use host::internal_command;
pub use lifecycle::State;
pub use programs::Programs;
pub use status::{PluginStatus, UsageStatus};
pub(crate) use usage::disk_bytes;

use crate::config::{DaemonConfig, LogSettings};
use crate::home::Home;
use crate::manifest::{Limits, Manifest};
use crate::netcore::AdminHandle;
use control::Command;

/// Most queued commands.
const COMMANDS: usize = 64;
/// Events that a subscriber can lag behind before it misses the oldest.
const EVENTS: usize = 256;
/// How long a request waits for a netcore that is being restarted.
const NETCORE_WAIT: Duration = Duration::from_secs(5);
/// How long the status of plugins waits for netcore's counters; then it goes without.
const TRAFFIC_TIME: Duration = Duration::from_secs(2);
/// Time limit for the first start of netcore.
const FIRST_START: Duration = Duration::from_secs(60);

/// An installed plugin.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    pub manifest: Manifest,
    /// The installed copy of its folder.
    pub folder: PathBuf,
    /// Its data folder; created if missing.
    pub data: PathBuf,
    /// Its limits in force, with the operator's.
    pub limits: Limits,
    pub grants: Grants,
    /// Whether it starts with the daemon.
    pub enabled: bool,
}

impl PluginSpec {
    pub fn id(&self) -> &PluginId {
        &self.manifest.plugin.id
    }
}

/// Events for subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorEvent {
    /// A plugin's state changed.
    Plugin {
        id: PluginId,
        state: State,
        /// How its last run ended.
        reason: Option<String>,
    },
    /// Netcore's state changed.
    Netcore { state: State },
    /// An event from netcore.
    Network(AdminEvent),
}

/// The credentials of a launch of the built-in plugin `operator`. The launch ends when this is dropped.
#[derive(Debug)]
pub struct OperatorSession {
    /// Path of the gateway socket.
    pub gateway: PathBuf,
    /// Token for `Hello`.
    pub token: Secret,
    _alive: oneshot::Sender<()>,
}

/// The handle to the supervisor's task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Supervisor {
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<Option<AdminHandle>>,
    events: broadcast::Sender<SupervisorEvent>,
    tag: String,
}

impl Supervisor {
    /// Kills what an earlier daemon left, then starts the reaper, netcore, and the enabled plugins, required ones
    /// first. Must be called on a runtime, in a process without other children; the home must be prepared and locked.
    /// The task ends after [`Supervisor::shutdown`], or when all handles are dropped.
    ///
    /// # Errors
    /// When leftovers cannot be killed, or netcore does not start.
    pub async fn start(
        home: Home,
        config: DaemonConfig,
        plugins: Vec<PluginSpec>,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let programs = Programs::find().map_err(|source| StartError::Io {
            action: "find",
            path: PathBuf::from("polypeer"),
            source,
        })?;
        Self::start_with(home, config, plugins, programs).await
    }

    /// As [`Supervisor::start`], with the given programs.
    ///
    /// # Errors
    /// As [`Supervisor::start`].
    pub async fn start_with(
        home: Home,
        config: DaemonConfig,
        plugins: Vec<PluginSpec>,
        programs: Programs,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let (commands, waiting) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let (publish, link) = watch::channel(None);
        let tag = tag_of(&home);
        let (started, first) = oneshot::channel();
        let outlets = task::Outlets {
            events: events.clone(),
            link: publish,
            commands: commands.downgrade(),
            started: Some(started),
        };
        let task = task::Task::prepare(home, config, plugins, programs, waiting, outlets).await?;
        let handle = tokio::spawn(task.run());
        let problem = match tokio::time::timeout(FIRST_START, first).await {
            Ok(Ok(Ok(()))) => return Ok((Self { commands, link, events, tag }, handle)),
            Ok(Ok(Err(error))) => error,
            Ok(Err(_dropped)) => StartError::Netcore { how: "the supervisor's task ended".into(), lines: Vec::new() },
            Err(_elapsed) => StartError::Netcore {
                how: format!("it did not answer within {} s", FIRST_START.as_secs()),
                lines: Vec::new(),
            },
        };
        // Without a handle, the task stops everything.
        drop(commands);
        let _ = handle.await;
        Err(problem)
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Adds an installed plugin; starts it if it is enabled and its `start` is not `manual`.
    ///
    /// # Errors
    /// When the id exists already.
    pub async fn add(&self, spec: PluginSpec) -> Result<(), Failure> {
        self.command(|reply| Command::Add(Box::new(spec), reply)).await?
    }

    /// Stops a plugin and removes it.
    ///
    /// # Errors
    /// When the id is unknown.
    pub async fn remove(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Remove(id, reply)).await?
    }

    /// Closes and deletes the log of a plugin that was removed.
    pub async fn delete_log(&self, id: PluginId) {
        let _ = self.command(|reply| Command::DeleteLog(id, reply)).await;
    }

    /// Starts a plugin and those it requires; returns once its process runs. Does nothing if it runs already.
    ///
    /// # Errors
    /// When the id is unknown, or the plugin cannot be started; the text has the reason.
    pub async fn start_plugin(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Start(id, reply)).await?
    }

    /// Stops a plugin; returns once all of its processes have ended.
    ///
    /// # Errors
    /// When the id is unknown.
    pub async fn stop_plugin(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Stop(id, reply)).await?
    }

    /// Changes a plugin's limits, also while it runs. `open_files` changes with its next start.
    ///
    /// # Errors
    /// When the id is unknown, when the plugin uses more at present, or a limit that was applied cannot be changed.
    /// None is changed then.
    pub async fn set_limits(&self, id: PluginId, limits: Limits) -> Result<(), LimitError> {
        self.command(|reply| Command::SetLimits(id, Box::new(limits), reply)).await?
    }

    /// Changes a plugin's grants, at once.
    ///
    /// # Errors
    /// When the id is unknown, or netcore refuses the change. A netcore that is not running gets the grants at its
    /// start.
    pub async fn set_grants(&self, id: PluginId, grants: Grants) -> Result<(), Failure> {
        let told = self.command(|reply| Command::SetGrants(id, Box::new(grants), reply)).await??;
        match told {
            Some(answer) => match answer.await {
                Ok(AdminResponse::Failed(failure)) => Err(failure),
                // A netcore that ended meanwhile gets the grants at its next start.
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// All plugins, in the order of their ids.
    pub async fn plugins(&self) -> Vec<PluginStatus> {
        let mut plugins = self.command(Command::Plugins).await.unwrap_or_default();
        self.add_traffic(&mut plugins).await;
        plugins
    }

    /// One plugin.
    pub async fn plugin(&self, id: &PluginId) -> Option<PluginStatus> {
        let mut plugins = self.command(Command::Plugins).await.unwrap_or_default();
        plugins.retain(|plugin| plugin.id == *id);
        self.add_traffic(&mut plugins).await;
        plugins.pop()
    }

    /// What a plugin is in the middle of, or what is amiss with it; without a request to netcore.
    pub async fn plugin_note(&self, id: &PluginId) -> Option<(State, Option<String>)> {
        let plugins = self.command(Command::Plugins).await.ok()?;
        plugins.into_iter().find(|plugin| plugin.id == *id).map(|plugin| (plugin.state, plugin.note))
    }

    /// As [`Self::plugins`], without the traffic, which netcore would have to be asked for.
    pub async fn plugins_without_traffic(&self) -> Vec<PluginStatus> {
        self.command(Command::Plugins).await.unwrap_or_default()
    }

    async fn add_traffic(&self, plugins: &mut [PluginStatus]) {
        let Some(link) = self.link.borrow().clone() else { return };
        let asked = tokio::time::timeout(TRAFFIC_TIME, link.ask(AdminRequest::Traffic)).await;
        let Ok(Ok(AdminResponse::Traffic(traffic))) = asked else { return };
        for plugin in plugins {
            let mine = traffic.iter().find(|traffic| traffic.plugin == plugin.id);
            plugin.usage.sent_bytes = Some(mine.map_or(0, |traffic| traffic.sent_bytes));
            plugin.usage.received_bytes = Some(mine.map_or(0, |traffic| traffic.received_bytes));
        }
    }

    /// The state of netcore's process.
    pub async fn netcore(&self) -> NetcoreStatus {
        self.command(Command::Netcore).await.unwrap_or_default()
    }

    /// Sends a request to netcore; waits a few seconds for one that is being restarted.
    ///
    /// # Errors
    /// What netcore answered, or `connection lost` when it is not running.
    pub async fn admin(&self, request: AdminRequest) -> Result<AdminResponse, Failure> {
        let mut watched = self.link.clone();
        let link = match tokio::time::timeout(NETCORE_WAIT, watched.wait_for(Option::is_some)).await {
            Ok(Ok(link)) => link.clone(),
            _ => None,
        };
        let none = || Failure::new(ErrorCode::ConnectionLost, "the network core is not running; see logs/netcore_.log");
        link.ok_or_else(none)?.ask(request).await
    }

    /// Creates a launch for a command that uses the gateway.
    ///
    /// # Errors
    /// When too many exist, or the socket cannot be created.
    pub async fn operator(&self) -> Result<OperatorSession, Failure> {
        self.command(Command::Operator).await?
    }

    /// Whether a process belongs to a plugin, or may do so: it is in a control group of the home, in another pid
    /// namespace than this process, a descendant of this process, or cannot be inspected.
    pub fn is_confined(&self, pid: i32) -> bool {
        host::is_confined(pid, &self.tag)
    }

    /// Changes what netcore logs, now and at its later starts.
    pub async fn set_log(&self, settings: LogSettings) {
        let _ = self.command(|reply| Command::SetLog(Box::new(settings), reply)).await;
    }

    /// Changes the nodes that netcore begins with, now and at its later starts.
    pub async fn set_seeds(&self, settings: DiscoverySettings) {
        let _ = self.command(|reply| Command::SetSeeds(Box::new(settings), reply)).await;
    }

    /// Events from now on. A slow subscriber misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<SupervisorEvent> {
        self.events.subscribe()
    }

    /// Stops the plugins in order, then netcore; returns once all have ended. Those left after `grace` are killed.
    pub async fn shutdown(&self, grace: Duration) {
        let _ = self.command(|reply| Command::Shutdown(grace, reply)).await;
    }
}

/// The memory of this machine, bytes, where it is known.
pub fn machine_memory() -> Option<u64> {
    host::machine_memory()
}

/// The name of a home in control groups: 16 hex digits.
fn tag_of(home: &Home) -> String {
    let root = std::fs::canonicalize(home.root()).unwrap_or_else(|_| home.root().to_owned());
    blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex()[..16].to_owned()
}

fn stopping() -> Failure {
    Failure::new(ErrorCode::ShuttingDown, "the daemon is stopping")
}

fn unknown(id: &PluginId) -> Failure {
    Failure::new(
        ErrorCode::BadArgument,
        format!("there is no plugin {id}; `polypeer plugin list` shows those there are"),
    )
}
