//! Installs, lists and removes plugins on the operator's request. What a crash must not lose is recorded in the store
//! first and then applied to the children; a change that fails is undone.

use std::path::Path;

use polypeer_ipc_protocol::ids::PluginId;
use tokio::sync::mpsc;

use super::running::can_run;
use super::{Daemon, bundle, describe, state};
use crate::cli_error::CliError;
use crate::control::Answer;
use crate::control::documents::{Leftover, PluginDocument, PluginLine};
use crate::install::{self, InstallError, Way};
use crate::store::Installed;
use crate::supervise::State;

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
        self.state.check()?;
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
        let is_with_daemon = inspected.manifest.plugin.start.is_with_daemon();
        let installed = Installed {
            id: id.clone(),
            manifest: inspected.text.clone(),
            digest: inspected.digest.clone(),
            enabled: start,
            source: bundle::source(&inspected.folder, &id, way),
        };
        match before {
            Some(before) if before.digest == digest && before.manifest == installed.manifest => {
                // The same, and maybe from elsewhere: only a bundled app is replaced with the program.
                if before.source != installed.source {
                    let same = Installed { enabled: before.enabled, ..installed };
                    self.state.with(move |store| store.install(&same)).await?;
                }
            }
            before => self.replace(before, installed, inspected).await?,
        }
        if start {
            let wanted = id.clone();
            self.state.with(move |store| store.set_enabled(&wanted, true)).await?;
            if !self.config.net.seed_only {
                let mut events = self.supervisor.subscribe();
                let started = async {
                    self.start_and_wait(&id, answers).await?;
                    self.stays_up(&id, &mut events).await
                };
                if let Err(error) = started.await {
                    let state = self.supervisor.plugin_note(&id).await.map(|(state, _)| state);
                    let is_retried = !matches!(state, Some(State::Failed | State::Stopped) | None);
                    return Err(installed_anyway(&id, is_retried, is_with_daemon, error));
                }
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

    /// Uninstalls a plugin. With `data`, deletes what it, or an earlier one of this id, left behind. Returns what is
    /// left.
    pub(super) async fn remove(
        &self,
        id: &PluginId,
        data: bool,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Vec<Leftover>, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        self.state.check()?;
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
}

/// The error for a plugin that does not start: it is installed all the same.
fn installed_anyway(id: &PluginId, is_retried: bool, is_with_daemon: bool, error: CliError) -> CliError {
    let next = match (is_retried, is_with_daemon) {
        (true, _) => "its start is tried again".to_owned(),
        (false, true) => "it starts with the daemon".to_owned(),
        (false, false) => format!("`polypeer plugin start {id}` starts it"),
    };
    let hint = format!("{}; it is installed, and {next}; `polypeer plugin remove {id}` removes it", error.hint);
    CliError { hint, ..error }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_plugin_that_did_not_start_is_told_with_what_starts_it() {
        let id: PluginId = "app".parse().expect("a valid id");
        let hint = |is_retried, is_with_daemon| {
            installed_anyway(&id, is_retried, is_with_daemon, CliError::failed("app did not start", "see its log")).hint
        };
        assert_eq!(
            hint(false, false),
            "see its log; it is installed, and `polypeer plugin start app` starts it; \
             `polypeer plugin remove app` removes it"
        );
        assert!(hint(false, true).contains("and it starts with the daemon;"));
        assert!(hint(true, false).contains("and its start is tried again;"));
    }
}
