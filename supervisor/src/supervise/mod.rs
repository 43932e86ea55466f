//! The supervisor: one task that owns netcore, the plugins and their launches, and [`Supervisor`], the handle to it.
//!
//! ```text
//!  control socket ──► Supervisor ──commands──► Task ──► process::watch ──► init ──► plugin
//!                         │                     │ ▲         │ events
//!                         └──────admin──────►  Link ◄───────┴──────────────────────► netcore
//! ```
//!
//! What a plugin's life looks like is decided by [`lifecycle`] and [`restarts`], which are pure.

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
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use crate::netcore::NetcoreStatus;
pub use error::StartError;
pub use host::internal_command;
pub use lifecycle::State;
pub use programs::Programs;
pub use status::{PluginStatus, UsageStatus};

use crate::config::DaemonConfig;
use crate::home::Home;
use crate::manifest::{Limits, Manifest};
use crate::netcore::Link;
use control::Command;

/// Commands that may wait for the task.
const COMMANDS: usize = 64;
/// Events a subscriber may be behind before it misses some.
const EVENTS: usize = 256;
/// How long a request waits for a netcore that is just being started again.
const NETCORE_WAIT: Duration = Duration::from_secs(5);
/// How long the first start of netcore may take.
const FIRST_START: Duration = Duration::from_secs(60);

/// A plugin as it is installed.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its manifest.
    pub manifest: Manifest,
    /// The installed copy.
    pub folder: PathBuf,
    /// What it stores; made if it is not there.
    pub data: PathBuf,
    /// Its limits, the operator's included.
    pub limits: Limits,
    /// What it may do.
    pub grants: Grants,
    /// Whether it is started with the daemon.
    pub enabled: bool,
}

impl PluginSpec {
    /// Its name on this node.
    pub fn id(&self) -> &PluginId {
        &self.manifest.plugin.id
    }
}

/// What happens, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorEvent {
    /// A plugin's state changed.
    Plugin {
        id: PluginId,
        /// Its state now.
        state: State,
        /// How it ended last, if it did.
        reason: Option<String>,
    },
    /// Netcore's state changed.
    Netcore {
        /// Its state now.
        state: State,
    },
    /// Netcore said something by itself.
    Network(AdminEvent),
}

/// A session of the built-in plugin `operator`: what the gateway asks for. Its launch ends when this is dropped.
#[derive(Debug)]
pub struct OperatorSession {
    /// The socket.
    pub gateway: PathBuf,
    /// What `Hello` must show.
    pub token: Secret,
    _alive: oneshot::Sender<()>,
}

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Supervisor {
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<Option<Link>>,
    events: broadcast::Sender<SupervisorEvent>,
    tag: String,
}

impl Supervisor {
    /// Sweeps what an earlier daemon left, then starts the reaper, netcore, and the enabled plugins in the order they
    /// need each other. Must be called on a runtime, in a process with nothing else to do with children; the home must
    /// be prepared and locked. The task ends after [`Supervisor::shutdown`], or when every handle is dropped.
    ///
    /// # Errors
    /// When leftovers cannot be killed, or netcore does not come up.
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

    /// As [`Supervisor::start`], with programs from elsewhere.
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
        // Without a handle, the task takes everything down.
        drop(commands);
        let _ = handle.await;
        Err(problem)
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Adds a plugin that was installed; starts it if it is enabled and starts with the daemon.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn add(&self, spec: PluginSpec) -> Result<(), Failure> {
        self.command(|reply| Command::Add(Box::new(spec), reply)).await?
    }

    /// Stops a plugin and forgets it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn remove(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Remove(id, reply)).await?
    }

    /// Starts a plugin and those it requires; returns once its process runs. One that runs is left alone.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be started; the text says why.
    pub async fn start_plugin(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Start(id, reply)).await?
    }

    /// Stops a plugin; returns once nothing of it is left.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn stop_plugin(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Stop(id, reply)).await?
    }

    /// Stops a plugin, if it runs, and starts it; returns once its new process runs.
    ///
    /// # Errors
    /// As [`Supervisor::start_plugin`].
    pub async fn restart_plugin(&self, id: PluginId) -> Result<(), Failure> {
        self.command(|reply| Command::Restart(id, reply)).await?
    }

    /// Changes a plugin's limits, at once where it runs. Open files change with its next start.
    ///
    /// # Errors
    /// When there is none of that name, or a limit cannot be set while it runs; the others then hold.
    pub async fn set_limits(&self, id: PluginId, limits: Limits) -> Result<(), Failure> {
        self.command(|reply| Command::SetLimits(id, Box::new(limits), reply)).await?
    }

    /// Changes what a plugin may do, at once.
    ///
    /// # Errors
    /// When there is none of that name, or netcore is not there to be told; it will be when it is.
    pub async fn set_grants(&self, id: PluginId, grants: Grants) -> Result<(), Failure> {
        let told = self.command(|reply| Command::SetGrants(id, Box::new(grants), reply)).await??;
        match told {
            Some(answer) => match answer.await {
                Ok(AdminResponse::Failed(failure)) => Err(failure),
                // One that went away is told at its next start.
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// All plugins, by name.
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

    /// The states alone, by name: what `polypeer status` needs, without asking netcore.
    pub async fn plugin_states(&self) -> Vec<(PluginId, State)> {
        let plugins = self.command(Command::Plugins).await.unwrap_or_default();
        plugins.into_iter().map(|plugin| (plugin.id, plugin.state)).collect()
    }

    async fn add_traffic(&self, plugins: &mut [PluginStatus]) {
        let Some(link) = self.link.borrow().clone() else { return };
        let Ok(AdminResponse::Traffic(traffic)) = link.ask(AdminRequest::Traffic).await else { return };
        for plugin in plugins {
            let mine = traffic.iter().find(|traffic| traffic.plugin == plugin.id);
            plugin.usage.sent_bytes = Some(mine.map_or(0, |traffic| traffic.sent_bytes));
            plugin.usage.received_bytes = Some(mine.map_or(0, |traffic| traffic.received_bytes));
        }
    }

    /// Netcore's process.
    pub async fn netcore(&self) -> NetcoreStatus {
        self.command(Command::Netcore).await.unwrap_or_default()
    }

    /// Asks netcore; waits a few seconds for one that is just being started again.
    ///
    /// # Errors
    /// What netcore answered, or `connection lost` when it is not there.
    pub async fn admin(&self, request: AdminRequest) -> Result<AdminResponse, Failure> {
        let mut watched = self.link.clone();
        let link = match tokio::time::timeout(NETCORE_WAIT, watched.wait_for(Option::is_some)).await {
            Ok(Ok(link)) => link.clone(),
            _ => None,
        };
        let none = || Failure::new(ErrorCode::ConnectionLost, "the network core is not running; see logs/netcore_.log");
        link.ok_or_else(none)?.ask(request).await
    }

    /// A session for the command line's own streams.
    ///
    /// # Errors
    /// When too many are open, or its socket cannot be made.
    pub async fn operator(&self) -> Result<OperatorSession, Failure> {
        self.command(Command::Operator).await?
    }

    /// Whether a process belongs to a plugin, or may: it is in a control group of ours, in another pid namespace than
    /// this process, below this process in the tree, or cannot be looked at.
    pub fn is_confined(&self, pid: i32) -> bool {
        host::is_confined(pid, &self.tag)
    }

    /// What happens from now on. A slow subscriber misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<SupervisorEvent> {
        self.events.subscribe()
    }

    /// Stops the plugins in order, then netcore; returns when nothing is left. What does not end within `grace` is
    /// killed.
    pub async fn shutdown(&self, grace: Duration) {
        let _ = self.command(|reply| Command::Shutdown(grace, reply)).await;
    }
}

/// Names a home in control groups: 16 hex digits.
fn tag_of(home: &Home) -> String {
    let root = std::fs::canonicalize(home.root()).unwrap_or_else(|_| home.root().to_owned());
    blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex()[..16].to_owned()
}

fn stopping() -> Failure {
    Failure::new(ErrorCode::ShuttingDown, "the daemon is stopping")
}
