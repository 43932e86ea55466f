//! Starts and stops plugins on the operator's request, and waits until it is known how that went.

use std::time::Duration;

use polypeer_ipc_protocol::ids::PluginId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::{Daemon, state};
use crate::cli_error::{CliError, Exit};
use crate::control::Answer;
use crate::control::documents::PluginDocument;
use crate::manifest::Mode;
use crate::supervise::{State, SupervisorEvent};

/// How long `install` watches a plugin that is ready: what crashes at its first work is seen.
const EARLY: Duration = Duration::from_millis(500);

impl Daemon {
    pub(super) async fn start(
        &self,
        id: &PluginId,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Box<PluginDocument>, CliError> {
        self.start_and_wait(id, answers).await?;
        self.plugin(id).await
    }

    /// Waits until it is ready, or its start has failed, which its own limit on that time bounds.
    pub(super) async fn start_and_wait(&self, id: &PluginId, answers: &mpsc::Sender<Answer>) -> Result<(), CliError> {
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

    /// Fails if a plugin that was ready crashes at once. `events` are those since before its start.
    pub(super) async fn stays_up(
        &self,
        id: &PluginId,
        events: &mut broadcast::Receiver<SupervisorEvent>,
    ) -> Result<(), CliError> {
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
}

/// Fails if this version cannot run plugins of this mode.
pub(super) fn can_run(id: &PluginId, mode: Mode) -> Result<(), CliError> {
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
