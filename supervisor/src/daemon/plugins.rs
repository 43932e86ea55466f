//! Installs, changes, starts and stops plugins on the operator's request. A change that a crash must not lose is
//! recorded in the store first and then applied to the children; a change that fails is undone.

use std::path::Path;
use std::time::Duration;

use polypeer_ipc_protocol::ids::{NodeId, PluginId};
use tokio::sync::broadcast::error::RecvError;

use super::describe;
use super::state::Recorded;
use super::{Daemon, state};
use crate::cli_error::{CliError, Exit};
use crate::control::documents::{PluginDocument, PluginLine};
use crate::install::{self, InstallError, Way};
use crate::manifest::{LimitSettings, Mode, Peers};
use crate::store::{Installed, MAX_PEER_LIST};
use crate::supervise::{PluginStatus, State, SupervisorEvent};

/// How long a command waits for a plugin to be ready; then it reports the state reached.
const READY_TIME: Duration = Duration::from_secs(30);

impl Daemon {
    pub(super) async fn plugin_list(&self) -> Result<Vec<PluginLine>, CliError> {
        let statuses = self.supervisor.plugins().await;
        let mut lines = Vec::new();
        for installed in self.state.with(|store| store.plugins()).await? {
            let status = statuses.iter().find(|status| status.id == installed.id);
            match self.state.recorded(&installed.id).await {
                Ok(recorded) => lines.push(describe::line(&recorded, status)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(lines)
    }

    pub(super) async fn plugin(&self, id: &PluginId) -> Result<Box<PluginDocument>, CliError> {
        let recorded = self.state.recorded(id).await?;
        let status = self.supervisor.plugin(id).await;
        let (folder, approved) = (recorded.spec.folder.clone(), recorded.installed.manifest.clone());
        let warning = blocking(move || Ok(install::link_warning(&folder, &approved))).await?;
        let mut document = describe::plugin(recorded, status);
        document.warnings.extend(warning);
        Ok(Box::new(document))
    }

    pub(super) async fn install(
        &self,
        folder: &str,
        digest: &str,
        way: Way,
        start: bool,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let folder = Path::new(folder).to_path_buf();
        let source = folder.display().to_string();
        let inspected = blocking(move || install::inspect(&folder, way)).await?;
        if inspected.digest != digest {
            return Err(InstallError::Changed { path: inspected.folder }.into());
        }
        let id = inspected.manifest.plugin.id.clone();
        let wanted = id.clone();
        let before = self.state.with(move |store| store.plugin(&wanted)).await?;
        let installed = Installed {
            id: id.clone(),
            manifest: inspected.text.clone(),
            digest: inspected.digest.clone(),
            enabled: start,
            source,
        };
        if before.as_ref().is_none_or(|before| before.digest != digest || before.manifest != installed.manifest) {
            self.replace(before, installed, inspected).await?;
        }
        if start {
            let wanted = id.clone();
            self.state.with(move |store| store.set_enabled(&wanted, true)).await?;
            if !self.config.net.seed_only {
                self.start_and_wait(&id).await?;
            }
        }
        self.plugin(&id).await
    }

    /// Replaces the installed version; restores it on failure.
    async fn replace(
        &self,
        before: Option<Installed>,
        installed: Installed,
        new: install::Candidate,
    ) -> Result<(), CliError> {
        let id = installed.id.clone();
        let was_running = match self.supervisor.plugin(&id).await {
            Some(status) => {
                self.supervisor.remove(id.clone()).await?;
                status.state.has_process()
            }
            None => false,
        };
        let home = self.home.clone();
        let stored = async {
            let swapped = blocking(move || install::swap_in(&home, &new)).await?;
            match self.state.with(move |store| store.install(&installed)).await {
                Ok(()) => {
                    blocking(move || {
                        swapped.keep();
                        Ok(())
                    })
                    .await
                }
                Err(error) => {
                    blocking(move || swapped.take_back()).await?;
                    Err(error)
                }
            }
        };
        let stored = stored.await;
        if stored.is_err() && before.is_none() {
            return stored;
        }
        // Not enabled here: the caller decides whether it starts.
        let mut spec = self.state.recorded(&id).await?.spec;
        spec.enabled = stored.is_err() && was_running;
        self.supervisor.add(spec).await?;
        stored
    }

    pub(super) async fn start(&self, id: &PluginId) -> Result<Box<PluginDocument>, CliError> {
        self.start_and_wait(id).await?;
        self.plugin(id).await
    }

    async fn start_and_wait(&self, id: &PluginId) -> Result<(), CliError> {
        let recorded = self.state.recorded(id).await?;
        can_run(&recorded)?;
        if self.config.net.seed_only {
            let hint = "run the daemon without --seed-only";
            return Err(CliError::new(Exit::Refused, super::SEED_ONLY, hint));
        }
        let mut events = self.supervisor.subscribe();
        self.supervisor.start_plugin(id.clone()).await.map_err(|failure| not_started(id, &failure.message))?;
        let settled = async {
            loop {
                if let Some(status) = self.supervisor.plugin(id).await.filter(|status| status.state != State::Starting)
                {
                    return Some(status);
                }
                loop {
                    match events.recv().await {
                        Ok(SupervisorEvent::Plugin { id: of, .. }) if of == *id => break,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        };
        match tokio::time::timeout(READY_TIME, settled).await {
            Ok(Some(status)) => started(id, &status),
            Ok(None) => Err(CliError::failed("the daemon is stopping", "start it again with `polypeer run`")),
            Err(_) => Ok(()), // Still starting, which the answer says.
        }
    }

    pub(super) async fn stop(&self, id: &PluginId) -> Result<Box<PluginDocument>, CliError> {
        self.state.recorded(id).await?;
        self.supervisor.stop_plugin(id.clone()).await?;
        self.plugin(id).await
    }

    pub(super) async fn restart(&self, id: &PluginId) -> Result<Box<PluginDocument>, CliError> {
        self.stop(id).await?;
        self.start(id).await
    }

    pub(super) async fn enable(&self, id: &PluginId, enabled: bool) -> Result<Box<PluginDocument>, CliError> {
        let wanted = id.clone();
        if !self.state.with(move |store| store.set_enabled(&wanted, enabled)).await? {
            return Err(state::no_such_plugin(id));
        }
        if enabled { self.start(id).await } else { self.stop(id).await }
    }

    pub(super) async fn remove(&self, id: &PluginId, data: bool) -> Result<(), CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let wanted = id.clone();
        if self.state.with(move |store| store.plugin(&wanted)).await?.is_none() {
            return Err(state::no_such_plugin(id));
        }
        if self.supervisor.plugin(id).await.is_some() {
            self.supervisor.remove(id.clone()).await?;
        }
        let (wanted, home, id) = (id.clone(), self.home.clone(), id.clone());
        self.state.with(move |store| store.remove(&wanted)).await?;
        blocking(move || {
            install::delete(&home, &id)?;
            match data.then(|| std::fs::remove_dir_all(home.data(&id))) {
                Some(Err(source)) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(InstallError::Io { action: "remove", path: home.data(&id), source })
                }
                _ => Ok(()),
            }
        })
        .await
    }

    pub(super) async fn limit(
        &self,
        id: &PluginId,
        limits: Vec<(String, Option<String>)>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        self.state.recorded(id).await?;
        for (key, value) in limits.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value))) {
            LimitSettings::from_text(key, value).map_err(|what| CliError::usage(what, "see docs/manifest.md"))?;
        }
        if !limits.is_empty() {
            let wanted = id.clone();
            self.state.with(move |store| store.set_limits(&wanted, &limits)).await?;
            let limits = self.state.recorded(id).await?.spec.limits;
            self.supervisor.set_limits(id.clone(), limits).await?;
        }
        self.plugin(id).await
    }

    pub(super) async fn peer_list(
        &self,
        id: &PluginId,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let recorded = self.state.recorded(id).await?;
        if !(add.is_empty() && remove.is_empty()) {
            if recorded.spec.manifest.permissions.peers != Peers::List {
                let message = format!("{id} has no list of peers: its manifest does not say peers = \"list\"");
                return Err(CliError::usage(message, "refuse a single peer with `polypeer peers block PEER`"));
            }
            let wanted = id.clone();
            let length = self.state.with(move |store| store.peer_list(&wanted).map(|list| list.len())).await?;
            if length + add.len() > MAX_PEER_LIST {
                let message = format!("a list has at most {MAX_PEER_LIST} peers");
                return Err(CliError::new(Exit::Refused, message, "remove some with --remove-peer"));
            }
            let wanted = id.clone();
            self.state.with(move |store| store.change_peer_list(&wanted, &add, &remove)).await?;
            let grants = self.state.recorded(id).await?.spec.grants;
            self.supervisor.set_grants(id.clone(), grants).await?;
        }
        self.plugin(id).await
    }
}

/// Fails if this version cannot run plugins of this mode.
fn can_run(recorded: &Recorded) -> Result<(), CliError> {
    let mode = match recorded.spec.manifest.plugin.mode {
        Mode::Native => return Ok(()),
        Mode::Stdio => "stdio",
        Mode::Service => "service",
    };
    let message =
        format!("{} has mode = {mode:?}; this version installs such a plugin but cannot run it", recorded.installed.id);
    Err(CliError::failed(message, "update Polypeer, or install a version of the plugin with mode = \"native\""))
}

fn started(id: &PluginId, status: &PluginStatus) -> Result<(), CliError> {
    match status.state {
        State::Failed | State::Backoff => Err(not_started(id, status.exit_reason.as_deref().unwrap_or("it ended"))),
        State::Stopped => match &status.exit_reason {
            Some(reason) => Err(not_started(id, reason)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn not_started(id: &PluginId, reason: &str) -> CliError {
    CliError::failed(
        format!("{id} did not start: {reason}"),
        format!("see its output with `polypeer plugin logs {id}`"),
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstallError> + Send + 'static,
) -> Result<T, CliError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(CliError::failed(
            "the background task was aborted",
            "the daemon is stopping, or has a bug: see its output",
        )),
    }
}
