//! Installs, changes, starts and stops plugins on the operator's request. A change that a crash must not lose is
//! recorded in the store first and then applied to the children; a change that fails is undone.

use std::path::Path;
use std::time::Duration;

use polypeer_ipc_protocol::ids::{NodeId, PluginId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::describe;
use super::{Daemon, bundle, state};
use crate::cli_error::{CliError, Exit};
use crate::control::Answer;
use crate::control::documents::{Leftover, PluginDocument, PluginLine};
use crate::install::{self, InstallError, Way};
use crate::manifest::values::shown_size;
use crate::manifest::{LimitSettings, Mode, Peers};
use crate::store::{Installed, MAX_PEER_LIST};
use crate::supervise::{LimitError, State, SupervisorEvent, machine_memory};

/// How long `install` watches a plugin that is ready: what crashes at its first work is seen.
const EARLY: Duration = Duration::from_millis(500);

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
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let folder = Path::new(folder).to_path_buf();
        let inspected = blocking(move || install::inspect(&folder, way)).await?;
        if inspected.digest != digest {
            return Err(InstallError::Changed { path: inspected.folder }.into());
        }
        let id = inspected.manifest.plugin.id.clone();
        if start {
            can_run(&id, inspected.manifest.plugin.mode)?;
        }
        let wanted = id.clone();
        let before = self.state.with(move |store| store.plugin(&wanted)).await?;
        let installed = Installed {
            id: id.clone(),
            manifest: inspected.text.clone(),
            digest: inspected.digest.clone(),
            enabled: start,
            source: bundle::source(&inspected.folder, &id, way),
        };
        if before.as_ref().is_none_or(|before| before.digest != digest || before.manifest != installed.manifest) {
            self.replace(before, installed, inspected).await?;
        }
        if start {
            let wanted = id.clone();
            self.state.with(move |store| store.set_enabled(&wanted, true)).await?;
            if !self.config.net.seed_only {
                let mut events = self.supervisor.subscribe();
                self.start_and_wait(&id, answers).await?;
                self.stays_up(&id, &mut events).await?;
            }
        }
        self.plugin(&id).await
    }

    /// Fails if a plugin that was ready crashes at once. `events` are those since before its start.
    async fn stays_up(&self, id: &PluginId, events: &mut broadcast::Receiver<SupervisorEvent>) -> Result<(), CliError> {
        let crashed = async {
            loop {
                match events.recv().await {
                    Ok(SupervisorEvent::Plugin { id: of, state: State::Backoff | State::Failed, reason })
                        if of == *id =>
                    {
                        return reason;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        match tokio::time::timeout(EARLY, crashed).await {
            Ok(Some(reason)) => Err(self.not_started(id, &reason).await),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The error for a plugin that does not run, with the last line of its output.
    async fn not_started(&self, id: &PluginId, reason: &str) -> CliError {
        let last = self.supervisor.plugin(id).await.and_then(|status| status.last_line);
        let last = last.map(|line| format!("; its last line: {line}")).unwrap_or_default();
        CliError::failed(
            format!("{id} did not start: {reason}{last}"),
            format!("see its output with `polypeer plugin logs {id}`"),
        )
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

    pub(super) async fn start(
        &self,
        id: &PluginId,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        self.start_and_wait(id, answers).await?;
        self.plugin(id).await
    }

    /// Waits until it is ready, or its start has failed, which its own limit on that time bounds.
    async fn start_and_wait(&self, id: &PluginId, answers: &mpsc::Sender<Answer>) -> Result<(), CliError> {
        let recorded = self.state.recorded(id).await?;
        can_run(id, recorded.spec.manifest.plugin.mode)?;
        if self.config.net.seed_only {
            let hint = "run the daemon without --seed-only";
            return Err(CliError::new(Exit::Refused, super::SEED_ONLY, hint));
        }
        let mut events = self.supervisor.subscribe();
        let started = self.supervisor.start_plugin(id.clone());
        if let Err(failure) = self.telling(id, answers, started).await {
            return Err(self.not_started(id, &failure.message).await);
        }
        let settled = async {
            loop {
                if self.supervisor.plugin_note(id).await.is_none_or(|(state, _)| state != State::Starting) {
                    return None;
                }
                // Also a state that has passed already: of a plugin that crashes and is started again.
                loop {
                    match events.recv().await {
                        Ok(SupervisorEvent::Plugin { id: of, state, reason })
                            if of == *id && state != State::Starting =>
                        {
                            return Some((state, reason));
                        }
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        };
        let (state, reason) = match self.telling(id, answers, settled).await {
            Some(settled) => settled,
            None => match self.supervisor.plugin(id).await {
                Some(status) => (status.state, status.exit_reason),
                None => return Err(CliError::failed("the daemon is stopping", "start it again with `polypeer run`")),
            },
        };
        match (state, reason) {
            (State::Failed | State::Backoff, reason) => {
                Err(self.not_started(id, reason.as_deref().unwrap_or("it ended")).await)
            }
            (State::Stopped, Some(reason)) => Err(self.not_started(id, &reason).await),
            _ => Ok(()),
        }
    }

    pub(super) async fn stop(
        &self,
        id: &PluginId,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        self.state.recorded(id).await?;
        self.telling(id, answers, self.supervisor.stop_plugin(id.clone())).await?;
        self.plugin(id).await
    }

    pub(super) async fn restart(
        &self,
        id: &PluginId,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        self.stop(id, answers).await?;
        self.start(id, answers).await
    }

    pub(super) async fn enable(
        &self,
        id: &PluginId,
        enabled: bool,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let wanted = id.clone();
        if !self.state.with(move |store| store.set_enabled(&wanted, enabled)).await? {
            return Err(state::no_such_plugin(id));
        }
        if enabled { self.start(id, answers).await } else { self.stop(id, answers).await }
    }

    /// Uninstalls a plugin. With `data`, deletes what it, or an earlier one of this id, left behind. Returns what is left.
    pub(super) async fn remove(
        &self,
        id: &PluginId,
        data: bool,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Vec<Leftover>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let wanted = id.clone();
        if self.state.with(move |store| store.plugin(&wanted)).await?.is_none() {
            return match data && self.delete_leftovers(id).await? {
                true => Ok(Vec::new()),
                false => Err(state::no_such_plugin(id)),
            };
        }
        if self.supervisor.plugin_note(id).await.is_some() {
            self.telling(id, answers, self.supervisor.remove(id.clone())).await?;
        }
        let (wanted, home, of) = (id.clone(), self.home.clone(), id.clone());
        self.state.with(move |store| store.remove(&wanted)).await?;
        self.removals.notify_waiters();
        blocking(move || install::delete(&home, &of)).await?;
        if data {
            self.delete_leftovers(id).await?;
        }
        let mut left = self.leftovers().await?;
        left.retain(|one| one.id == *id);
        Ok(left)
    }

    /// Sets limits; on failure the earlier ones are restored.
    pub(super) async fn limit(
        &self,
        id: &PluginId,
        limits: Vec<(String, Option<String>)>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let before = self.state.recorded(id).await?.overrides;
        for (key, value) in limits.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value))) {
            let set = LimitSettings::from_text(key, value);
            fits_machine(&set.map_err(|what| CliError::usage(what, "see docs/manifest.md"))?)?;
        }
        if !limits.is_empty() {
            let earlier = |key: &String| before.iter().find(|(of, _)| of == key).map(|(_, value)| value.clone());
            let restored: Vec<_> = limits.iter().map(|(key, _)| (key.clone(), earlier(key))).collect();
            let wanted = id.clone();
            self.state.with(move |store| store.set_limits(&wanted, &limits)).await?;
            let limits = self.state.recorded(id).await?.spec.limits;
            if let Err(error) = self.supervisor.set_limits(id.clone(), limits).await {
                let wanted = id.clone();
                self.state.with(move |store| store.set_limits(&wanted, &restored)).await?;
                return Err(of_limits(id, error));
            }
            if let Some(why) = self.supervisor.plugin(id).await.and_then(|status| status.too_tight) {
                let _ = answers.try_send(Answer::Progress(why)); // A remark, which nothing depends on.
            }
        }
        self.plugin(id).await
    }

    pub(super) async fn peer_list(
        &self,
        id: &PluginId,
        listed_only: Option<bool>,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    ) -> Result<Box<PluginDocument>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        if let Some(listed_only) = listed_only {
            if self.state.recorded(id).await?.asked_peers != Peers::Any {
                let message = format!("the manifest of {id} does not say peers = \"any\", so --peers cannot change it");
                return Err(CliError::usage(
                    message,
                    format!("see what it is allowed with `polypeer plugin grants {id}`"),
                ));
            }
            let wanted = id.clone();
            self.state.with(move |store| store.set_listed_only(&wanted, listed_only)).await?;
            let grants = self.state.recorded(id).await?.spec.grants;
            self.supervisor.set_grants(id.clone(), grants).await?;
        }
        let recorded = self.state.recorded(id).await?;
        if !(add.is_empty() && remove.is_empty()) {
            if recorded.spec.manifest.permissions.peers != Peers::List {
                let message = format!("{id} has no list of peers: its manifest does not say peers = \"list\"");
                let hint = match recorded.asked_peers {
                    Peers::Any => "add --peers list to allow it listed peers only",
                    _ => "refuse a single peer with `polypeer peers block PEER`",
                };
                return Err(CliError::usage(message, hint));
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
fn can_run(id: &PluginId, mode: Mode) -> Result<(), CliError> {
    let mode = match mode {
        Mode::Native => return Ok(()),
        Mode::Stdio => "stdio",
        Mode::Service => "service",
    };
    let message = format!("{id} has mode = {mode:?}, which this version cannot run");
    Err(CliError::failed(
        message,
        "update Polypeer, or install a version of the plugin with mode = \"native\"; --no-start installs it for later",
    ))
}

/// Fails if a limit is more than this machine has.
fn fits_machine(set: &LimitSettings) -> Result<(), CliError> {
    match (set.memory, machine_memory()) {
        (Some(asked), Some(there)) if asked.0 > there => Err(CliError::usage(
            format!("memory: {} is more than the {} of this machine", shown_size(asked.0), shown_size(there)),
            "choose less, or memory=default",
        )),
        _ => Ok(()),
    }
}

fn of_limits(id: &PluginId, error: LimitError) -> CliError {
    let hint = format!("choose more than it uses, or stop it first: `polypeer plugin stop {id}`");
    match error {
        LimitError::BelowUse { .. } | LimitError::NotApplied { .. } => {
            CliError::new(Exit::Refused, error.to_string(), hint)
        }
        LimitError::Failed(failure) => failure.into(),
    }
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
