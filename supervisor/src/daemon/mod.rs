//! `polypeer run`: locks the home, starts everything, answers the control socket, and stops everything in order. It
//! joins [`crate::supervise`], which owns the children, and [`crate::store`], which records what is installed.
//!
//! `requests` answers the control socket from `state`, with `plugins`, `peers`, `leftovers`, `logs`, `progress`,
//! `describe` and the [`checks`] of `doctor`; `health` says whether all is well, `bundle` finds the bundled applications.
//! `metrics` serves what `sample` measures. `watchdog` tells the service manager that all is well. `signals` and `notify`
//! (systemd) differ per system.

pub(crate) mod bundle;
pub mod checks;
mod describe;
mod health;
mod leftovers;
mod logs;
mod metrics;
mod notify;
mod peers;
mod plugins;
mod progress;
mod requests;
mod sample;
mod signals;
mod state;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use tokio::sync::Mutex;

use crate::cli_error::CliError;
use crate::config::DaemonConfig;
use crate::control::server::Server;
use crate::home::Home;
use crate::install;
use crate::output::Printer;
use crate::store::Store;
use crate::supervise::{StartError, Supervisor};
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
    config: DaemonConfig,
    supervisor: Supervisor,
    state: State,
    /// Held while a plugin is installed, removed or changed, so that store, files and children stay consistent.
    changes: Mutex<()>,
    /// Told whenever a plugin was removed.
    removals: tokio::sync::Notify,
    started: Instant,
    node: polypeer_ipc_protocol::ids::NodeId,
    stop: tokio::sync::Notify,
    /// The loopback address where metrics are read, if one is; or why they cannot be read.
    metrics: Result<Option<std::net::SocketAddr>, String>,
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::failed(error.to_string(), error.hint())
    }
}

/// Runs a node until it is told to stop. `home` must be prepared ([`Home::prepare`]).
pub(crate) async fn run(home: Home, config: DaemonConfig, printer: &Printer) -> Result<(), CliError> {
    let _lock = home.lock()?;
    // From here on this is the only daemon of the home.
    let mut store = Store::open(&home.state_db())?;
    install::sweep(&home, &store.plugins()?)?;
    if config.bundled_apps {
        bundle::install(&home, &mut store, printer)?;
    }
    let state = State::new(home.clone(), config.clone(), store);
    let specs = state.specs().await?;
    // Registered early, so that no signal is lost during a slow start.
    let mut signals = Signals::listen()
        .map_err(|error| CliError::failed(format!("failed to listen for signals: {error}"), "try again"))?;
    let starting = Supervisor::start(home.clone(), config.clone(), specs);
    let (supervisor, mut ended) = tokio::select! {
        started = Box::pin(starting) => started?,
        () = signals.stop() => return Ok(()),
    };

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
        let daemon_is_seed = config.net.seed_only;
        // The node runs without metrics, and says so, rather than not at all.
        let metrics = metrics::Sockets::bind(&home, config.metrics.listen).await.inspect_err(|problem| {
            tracing::warn!("{problem}");
        });
        let daemon = Arc::new(Daemon {
            home: home.clone(),
            config,
            supervisor: supervisor.clone(),
            state: state.clone(),
            changes: Mutex::new(()),
            removals: tokio::sync::Notify::new(),
            started: Instant::now(),
            node: status.node,
            stop: tokio::sync::Notify::new(),
            metrics: metrics.as_ref().map_or_else(|problem| Err(problem.clone()), |sockets| Ok(sockets.address())),
        });
        let serving = tokio::spawn(server.run(daemon.clone()));
        // Ends with the process, as its sockets do.
        let _metrics = metrics.ok().map(|sockets| tokio::spawn(metrics::run(sockets, daemon.clone())));
        printer.say(format!(
            "polypeer {} is ready; Ctrl-C stops it\n  node     {}\n  listens  {}\n  home     {}",
            env!("CARGO_PKG_VERSION"),
            status.node,
            status.listen.join(", "),
            home.root().display()
        ));
        if daemon_is_seed {
            printer.say(SEED_ONLY);
        }
        for warning in &status.warnings {
            tracing::warn!("{warning}");
        }
        notify::tell("READY=1");
        let watchdog = tokio::spawn(watchdog::run(supervisor.clone(), notify::watchdog()));
        let orderly = tokio::select! {
            () = signals.stop_or_hangup() => true,
            () = daemon.stop.notified() => true,
            _ = &mut ended => false,
        };
        watchdog.abort();
        if orderly {
            Ok(serving)
        } else {
            Err(CliError::failed("the supervisor's task ended", "this is a bug; see the output above"))
        }
    }
    .await;

    notify::tell("STOPPING=1");
    if outcome.is_ok() {
        printer.say("stopping; press Ctrl-C again to stop at once");
    }
    tokio::select! {
        () = supervisor.shutdown(GRACE) => {}
        () = signals.stop() => {}
    }
    if let Err(error) = state.with(|store| store.settle()).await {
        tracing::warn!("{error}");
    }
    // Commands that wait for the end notice it when the process ends, after this.
    for path in [home.control_key(), home.control_socket(), home.metrics_socket()] {
        let _ = std::fs::remove_file(path); // The next start replaces it.
    }
    home.leave_sockets();
    outcome.map(|serving| serving.abort())
}
