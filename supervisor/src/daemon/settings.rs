//! The configuration in force, and its changes while the daemon runs: `polypeer reload`, SIGHUP, `polypeer log-level`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_ipc_protocol::settings::DiscoverySettings;

use crate::cli_error::CliError;
use crate::config::{Configuration, Flags, LogSettings, MAX_TARGETS};
use crate::control::LevelChange;
use crate::control::documents::{LogLevelDocument, ReloadDocument, SettingDocument, SettingSource};
use crate::home::Home;
use crate::manifest::LimitSettings;

use super::Daemon;

/// A handle to the configuration in force. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    flags: Arc<Flags>,
    running: Arc<Mutex<Configuration>>,
}

impl Settings {
    pub(super) fn new(configuration: Configuration, flags: Flags) -> Self {
        Self { flags: Arc::new(flags), running: Arc::new(Mutex::new(configuration)) }
    }

    fn running(&self) -> MutexGuard<'_, Configuration> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every key, for `config show`.
    pub(super) fn shown(&self) -> Vec<SettingDocument> {
        self.running().settings.clone()
    }

    /// Defaults for plugins that do not set a limit themselves.
    pub(super) fn limits(&self) -> LimitSettings {
        self.running().config.limits.clone()
    }

    /// The nodes to begin with, among the other settings of discovery.
    fn seeds(&self) -> DiscoverySettings {
        self.running().config.net.discovery.clone()
    }

    /// The loopback address where metrics are to be read.
    fn metrics(&self) -> Option<SocketAddr> {
        self.running().config.metrics.listen
    }

    fn log(&self) -> LogSettings {
        self.running().config.log.clone()
    }

    /// Reads the file again and takes what applies to a running daemon. With a mistake in it, nothing changes.
    fn reload(&self, home: &Home) -> Result<ReloadDocument, CliError> {
        let new = Configuration::load(home, &self.flags)?;
        Ok(self.running().take(new))
    }

    /// Takes the levels of the file again.
    fn reset_log(&self, home: &Home) -> Result<(), CliError> {
        let new = Configuration::load(home, &self.flags)?;
        let mut running = self.running();
        running.config.log = new.config.log;
        for (old, new) in running.settings.iter_mut().zip(new.settings).filter(|(old, _)| old.key.starts_with("log.")) {
            *old = new;
        }
        Ok(())
    }

    /// Changes levels until the next reload or restart.
    fn change_levels(&self, changes: Vec<LevelChange>) -> Result<(), CliError> {
        let mut running = self.running();
        let mut log = running.config.log.clone();
        for LevelChange { target, level } in changes {
            match target {
                Some(target) => drop(log.targets.insert(target, level)),
                None => log.level = level,
            }
        }
        if log.targets.len() > MAX_TARGETS {
            let message = format!("at most {MAX_TARGETS} parts of the node have a level of their own");
            return Err(CliError::usage(message, "`polypeer log-level default` removes those set by hand"));
        }
        let levels = serde_json::to_value(&log).expect("levels are plain data");
        for setting in &mut running.settings {
            let Some(value) = setting.key.strip_prefix("log.").and_then(|key| levels.get(key)) else { continue };
            if setting.value != *value {
                (setting.value, setting.source) = (value.clone(), SettingSource::Flag);
            }
        }
        running.config.log = log;
        Ok(())
    }
}

impl Daemon {
    /// Reads `config.toml` again.
    pub(super) async fn reload(&self) -> Result<ReloadDocument, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        let mut told = self.settings.reload(&self.home)?;
        self.use_log_settings().await;
        if told.applied.iter().any(|key| key.starts_with("discovery.")) {
            self.supervisor.set_seeds(self.settings.seeds()).await;
        }
        // One that could not be listened on before is tried again.
        let other_address = told.applied.iter().any(|key| key == "metrics.listen");
        if (other_address || self.loopback.address().is_err())
            && let Err(problem) = self.loopback.listen_at(self.settings.metrics()).await
        {
            tracing::warn!("{problem}");
            told.warnings.push(problem);
        }
        // Last, as only this may fail: all else is in force by then.
        if told.applied.iter().any(|key| key.starts_with("limits.")) {
            told.warnings.extend(self.use_limits().await?);
        }
        tracing::info!("the configuration was read again: {}", in_words(&told));
        Ok(told)
    }

    /// Changes levels of the log, or with `reset` takes those of the configuration again. Without changes it reports.
    pub(super) async fn log_level(&self, changes: Vec<LevelChange>, reset: bool) -> Result<LogLevelDocument, CliError> {
        let _one_at_a_time = self.changes.lock().await;
        if reset {
            self.settings.reset_log(&self.home)?;
        }
        self.settings.change_levels(changes)?;
        self.use_log_settings().await;
        let log = self.settings.log();
        let targets = log.targets.iter().map(|(target, level)| (target.to_string(), level.to_string())).collect();
        Ok(LogLevelDocument { level: log.level.to_string(), targets })
    }

    async fn use_log_settings(&self) {
        let log = self.settings.log();
        crate::logging::change(&log);
        self.supervisor.set_log(log).await;
    }

    /// Gives every plugin the limits that follow from the defaults. Returns what did not work.
    async fn use_limits(&self) -> Result<Vec<String>, CliError> {
        let mut problems = Vec::new();
        for installed in self.state.with(|store| store.plugins()).await? {
            let limits = match self.state.recorded(&installed.id).await {
                Ok(recorded) => recorded.spec.limits,
                Err(_) => continue, // It cannot run, which was told at the start.
            };
            if let Err(failure) = self.supervisor.set_limits(installed.id.clone(), limits).await {
                tracing::warn!("the limits of {}: {failure}", installed.id);
                problems.push(format!("the limits of {}: {failure}", installed.id));
            }
        }
        Ok(problems)
    }
}

/// What a reload did, for people.
pub(crate) fn in_words(told: &ReloadDocument) -> String {
    let some = |keys: &[String], words: &str| (!keys.is_empty()).then(|| format!("{words} {}", keys.join(", ")));
    let parts = [some(&told.applied, "applied"), some(&told.needs_restart, "needs a restart of the daemon:")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing changed".into() } else { parts.join("; ") }
}
