//! `polypeer run`: locks the home, starts everything, answers the control socket, and stops everything in order. It
//! joins [`crate::supervise`], which owns the children, and [`crate::store`], which records what is installed.
//!
//! `requests` answers the control socket from `state`. For it, `plugins` installs and removes plugins, `running` starts
//! and stops them, `bounds` changes what they may use, `describe` makes documents of them, and `leftovers` is what
//! removed ones left; `peers` names and lists peers, `logs` sends logs, `progress` says what is waited for, [`checks`]
//! are those of `doctor`.
//!
//! `health` says whether all is well, `settings` is the configuration in force, `bundle` finds the bundled
//! applications, `greeting` is what the operator reads first. `metrics` serves what `sample` measures. `watchdog` tells
//! the service manager that all is well. `signals` and `notify` (systemd) differ per system.

mod bounds;
pub(crate) mod bundle;
pub mod checks;
mod describe;
mod greeting;
mod health;
mod leftovers;
mod logs;
mod metrics;
mod notify;
mod peers;
mod plugins;
mod progress;
mod requests;
mod running;
mod sample;
pub(crate) mod settings;
pub(crate) mod signals;
mod state;
mod watchdog;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::cli_error::CliError;
use crate::config::{Configuration, DaemonConfig, Flags};
use crate::control::server::{LOOK, Server};
use crate::home::{Home, HomeError, HomeLock};
use crate::install;
use crate::output::Printer;
use crate::store::Store;
use crate::supervise::{StartError, Supervisor};
use crate::ticks::ticks;
use settings::Settings;
use signals::Order;
pub(crate) use signals::Signals;
use state::State;

/// Time limit for an orderly stop of everything; then it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// The warning of a node that was started with `--seed-only`.
pub(crate) const SEED_ONLY: &str = "this node is a seed only (--seed-only): it starts no plugins";

/// The warning of a status that had to be made without the network core.
const NOT_ANSWERING: &str = "the network core does not answer; see `polypeer doctor`";

/// The state that requests use.
pub(crate) struct Daemon {
    home: Home,
    /// As it was at the start; `settings` has what changed since.
    config: DaemonConfig,
    settings: Settings,
    supervisor: Supervisor,
    state: State,
    /// Held while a plugin is installed, removed or changed, so that store, files and children stay consistent.
    changes: Mutex<()>,
    /// Told whenever a plugin was removed.
    removals: tokio::sync::Notify,
    started: Instant,
    node: polypeer_ipc_protocol::ids::NodeId,
    stop: tokio::sync::Notify,
    /// Where metrics are read, besides the socket in the home.
    loopback: metrics::Loopback,
    lock: SharedLock,
    /// Whether there was an `identity.key` at the start.
    had_key: bool,
}

/// The lock of the home, which all who put back something there see to first.
type SharedLock = Arc<std::sync::Mutex<HomeLock>>;

/// As [`HomeLock::renew`].
fn renew(lock: &SharedLock, home: &Home) -> Result<(), HomeError> {
    lock.lock().unwrap_or_else(PoisonError::into_inner).renew(home)
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::failed(error.to_string(), error.hint())
    }
}

/// Runs a node until it is told to stop. `home` must be prepared ([`Home::prepare`]); `flags` are those that
/// `configuration` was loaded with.
pub(crate) async fn run(
    home: Home,
    configuration: Configuration,
    flags: Flags,
    printer: &Printer,
) -> Result<(), CliError> {
    let lock: SharedLock = Arc::new(std::sync::Mutex::new(home.lock()?));
    // From here on this is the only daemon of the home.
    crate::logging::to_file(&home)
        .map_err(|error| CliError::failed(format!("failed to log: {error}"), "check the limit on processes"))?;
    let mut store = Store::open(&home.state_db())?;
    install::sweep(&home, &store.plugins()?)?;
    let config = configuration.config.clone();
    let new_apps = if config.bundled_apps { bundle::install(&home, &mut store, printer)? } else { Vec::new() };
    let settings = Settings::new(configuration, flags);
    let state = State::new(home.clone(), settings.clone(), store);
    let specs = state.specs().await?;
    // Registered early, so that no signal is lost during a slow start.
    let mut signals = Signals::listen()
        .map_err(|error| CliError::failed(format!("failed to listen for signals: {error}"), "try again"))?;
    let starting = Supervisor::start(home.clone(), config.clone(), specs);
    let (supervisor, mut ended) = tokio::select! {
        // The log is on stderr, and no part of the document of `--json`.
        started = Box::pin(starting) => started.map_err(|error| match printer.json {
            true => CliError::failed(error.in_full(), error.hint()),
            false => error.into(),
        })?,
        () = signals.stop() => return Ok(()),
    };

    let mut by_signal = false;
    let outcome = async {
        let status =
            match supervisor.admin(AdminRequest::Status).await.map_err(|failure| CliError::from_failure(&failure))? {
                AdminResponse::Status(status) => status,
                other => return Err(requests::unexpected(&other)),
            };
        let server = Server::bind(&home).map_err(|error| {
            let message = format!("failed to listen on {}: {error}", home.control_socket().display());
            CliError::failed(message, "check the permissions of the folder and that the disk is not full")
        })?;
        // The node runs without metrics, and says so, rather than not at all.
        let (sockets, loopback) = metrics::bind(&home);
        if let Err(problem) = loopback.listen_at(config.metrics.listen).await {
            tracing::warn!("{problem}");
        }
        let daemon = Arc::new(Daemon {
            home: home.clone(),
            config,
            settings,
            supervisor: supervisor.clone(),
            state: state.clone(),
            changes: Mutex::new(()),
            removals: tokio::sync::Notify::new(),
            started: Instant::now(),
            node: status.node,
            stop: tokio::sync::Notify::new(),
            loopback,
            lock: Arc::clone(&lock),
            had_key: home.identity_key().exists(),
        });
        let serving = tokio::spawn(server.run(daemon.clone()));
        // Ends with the process, as its sockets do.
        let metrics = sockets.map(|sockets| tokio::spawn(metrics::run(sockets, daemon.clone())));
        greeting::print(printer, &home, &status, &new_apps);
        if daemon.config.net.seed_only {
            printer.say(SEED_ONLY);
        }
        for warning in &status.warnings {
            tracing::warn!("{warning}");
        }
        notify::tell("READY=1");
        let watchdog = tokio::spawn(watchdog::run(supervisor.clone(), notify::watchdog()));
        let ended = tokio::select! {
            () = obey(&daemon, &mut signals) => {
                by_signal = true;
                Ok(())
            }
            () = daemon.stop.notified() => Ok(()),
            taken = keep_locked(&lock, &home) => Err(taken),
            _ = &mut ended => Err(CliError::failed("the supervisor's task ended", "this is a bug; see `polypeer logs`")),
        };
        watchdog.abort();
        if let Err(error) = ended {
            // The home may be another daemon's, with its own sockets in it.
            serving.abort();
            metrics.iter().for_each(JoinHandle::abort);
            return Err(error);
        }
        Ok(serving)
    }
    .await;

    notify::tell("STOPPING=1");
    if outcome.is_ok() {
        printer.say(if by_signal { "stopping; press Ctrl-C again to stop at once" } else { "stopping" });
    }
    tokio::select! {
        () = supervisor.shutdown(GRACE) => {}
        () = signals.stop() => {}
    }
    if let Err(error) = state.with(|store| store.finish()).await {
        tracing::warn!("{error}");
    }
    if lock.lock().unwrap_or_else(PoisonError::into_inner).is_ours(&home) {
        // Commands that wait for the end notice it when the process ends, after this.
        for path in [home.control_key(), home.control_socket(), home.metrics_socket()] {
            let _ = std::fs::remove_file(path); // The next start replaces it.
        }
        home.leave_sockets();
    }
    outcome.map(|serving| serving.abort())
}

/// Does what signals say, until one says to stop. A reload may wait for another change, and a stop must not wait for
/// it.
async fn obey(daemon: &Daemon, signals: &mut Signals) {
    let (ask, mut asked) = mpsc::channel(1);
    let reloading = async {
        while asked.recv().await.is_some() {
            if let Err(error) = daemon.reload().await {
                tracing::error!("the configuration was not read again, the old one stays: {error}; {}", error.hint);
            }
        }
    };
    let listening = async {
        while signals.next().await == Order::Reload {
            let _ = ask.try_send(()); // One that waits already reads the file later.
        }
    };
    tokio::select! {
        () = reloading => {}
        () = listening => {}
    }
}

/// Keeps the home locked although somebody may remove the locked file. Returns when another daemon was quicker.
async fn keep_locked(lock: &SharedLock, home: &Home) -> CliError {
    let mut failed = false;
    let mut look = ticks(LOOK);
    loop {
        look.tick().await;
        match renew(lock, home) {
            Ok(()) => failed = false,
            Err(error @ HomeError::Running { .. }) => return error.into(),
            Err(error) if !failed => {
                failed = true;
                tracing::error!("{error}");
            }
            Err(_) => {}
        }
    }
}
