//! Answers to the requests of the control socket.

use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::{NodeId, PluginId};
use tokio::sync::mpsc;

use super::{Daemon, checks, describe, health, logs, renew, state};
use crate::cli_error::{CliError, Exit};
use crate::control::documents::{CauseDocument, DoctorDocument, PluginState, StatusDocument};
use crate::control::server::Handler;
use crate::control::{Answer, Request};
use crate::supervise::PluginStatus;

/// Timeout of `status` for netcore: the status reports a netcore that is away instead of waiting for it.
pub(super) const STATUS_TIME: Duration = Duration::from_secs(2);

impl Handler for Daemon {
    async fn handle(&self, request: Request, answers: mpsc::Sender<Answer>) {
        let answer = match request {
            Request::PluginLogs { id, lines, follow } => match self.logs(&id, lines, follow, answers.clone()).await {
                Ok(()) => return,
                Err(error) => error.into(),
            },
            Request::Operator => match self.supervisor.operator().await {
                Ok(session) => {
                    let gateway = session.gateway.display().to_string();
                    let _ = answers.send(Answer::Operator { gateway, token: session.token.clone() }).await;
                    // The launch is leased for as long as the connection: this future is dropped with it.
                    return std::future::pending().await;
                }
                Err(failure) => CliError::from_failure(&failure).into(),
            },
            Request::Shutdown => {
                let _ = answers.send(Answer::Done).await;
                self.stop.notify_one();
                // The connection ends when the daemon does, which tells the caller.
                return std::future::pending().await;
            }
            request => self.answer(request, &answers).await.unwrap_or_else(Answer::Trouble),
        };
        let _ = answers.send(answer).await; // The caller may be gone.
    }

    fn is_confined(&self, pid: i32) -> bool {
        self.supervisor.is_confined(pid)
    }

    fn keeps_home(&self) -> bool {
        renew(&self.lock, &self.home).is_ok()
    }
}

impl Daemon {
    async fn answer(&self, request: Request, answers: &mpsc::Sender<Answer>) -> Result<Answer, CliError> {
        Ok(match request {
            Request::Status => Answer::Status(Box::new(self.status().await)),
            Request::Id => Answer::Text(self.node.to_string()),
            Request::Net { request } if request.is_for_operators() => Answer::Net(Box::new(self.admin(request).await?)),
            Request::Net { .. } => {
                return Err(CliError::new(
                    Exit::Refused,
                    "only the daemon itself may ask this of the network core",
                    "use a command of polypeer; see polypeer --help",
                ));
            }
            Request::Sample => Answer::Sample(Box::new(self.sample().await)),
            Request::KnownPeers => Answer::KnownPeers(Box::new(self.known_peers().await?)),
            Request::PeerName { node, name } => {
                self.name_peer(node, name).await?;
                Answer::Done
            }
            Request::PluginList => Answer::Plugins(self.plugin_list().await?),
            Request::PluginInfo { id } => Answer::Plugin(self.plugin(&id).await?),
            Request::PluginInstall { folder, digest, way, start } => {
                Answer::Plugin(self.install(&folder, &digest, way, start, answers).await?)
            }
            Request::PluginStart { id } => Answer::Plugin(self.start(&id, answers).await?),
            Request::PluginStop { id } => Answer::Plugin(self.stop(&id, answers).await?),
            Request::PluginRestart { id } => Answer::Plugin(self.restart(&id, answers).await?),
            Request::PluginEnable { id } => Answer::Plugin(self.enable(&id, true, answers).await?),
            Request::PluginDisable { id } => Answer::Plugin(self.enable(&id, false, answers).await?),
            Request::PluginRemove { id, data } => Answer::Leftovers(self.remove(&id, data, answers).await?),
            Request::PluginLeftovers => Answer::Leftovers(self.leftovers().await?),
            Request::PluginLimit { id, limits } => Answer::Plugin(self.limit(&id, limits, answers).await?),
            Request::PluginPeers { id, listed_only, add, remove } => {
                Answer::Plugin(self.peer_list(&id, listed_only, add, remove).await?)
            }
            Request::Doctor { peer } => Answer::Doctor(self.doctor(peer).await?),
            Request::Settings => Answer::Settings(self.settings.shown()),
            Request::Reload => Answer::Reloaded(self.reload().await?),
            Request::LogLevel { changes, reset } => Answer::LogLevel(self.log_level(changes, reset).await?),
            Request::PluginLogs { .. } | Request::Operator | Request::Shutdown => {
                unreachable!("answered by the caller of this")
            }
        })
    }

    async fn admin(&self, request: AdminRequest) -> Result<AdminResponse, CliError> {
        match self.supervisor.admin(request).await {
            Ok(AdminResponse::Failed(failure)) | Err(failure) => Err(CliError::from_failure(&failure)),
            Ok(response) => Ok(response),
        }
    }

    pub(super) async fn status(&self) -> StatusDocument {
        let plugins = self.supervisor.plugins_without_traffic().await;
        let state = |plugin: &PluginStatus| PluginState { id: plugin.id.clone(), state: plugin.state.as_str().into() };
        let mut status = StatusDocument {
            node_id: Some(self.node),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.started.elapsed().as_secs(),
            listen: None,
            reach: "unknown".into(),
            netcore: describe::netcore(self.supervisor.netcore().await),
            peers: None,
            sources: None,
            traffic: None,
            plugins: plugins.iter().map(state).collect(),
            problems: Vec::new(),
            metrics: None,
            warnings: Vec::new(),
            counters: std::collections::BTreeMap::new(),
            offenders: Vec::new(),
        };
        match tokio::time::timeout(STATUS_TIME, self.supervisor.admin(AdminRequest::Status)).await {
            Ok(Ok(AdminResponse::Status(network))) => describe::add_network(&mut status, network),
            _ => status.warnings.push(super::NOT_ANSWERING.into()),
        }
        if self.config.net.seed_only {
            status.warnings.push(super::SEED_ONLY.into());
        }
        match self.loopback.address() {
            Ok(address) => status.metrics = address.map(|address| address.to_string()),
            Err(problem) => status.warnings.push(problem),
        }
        match crate::logging::unread() {
            0 => {}
            unread => status.warnings.push(format!(
                "{unread} lines of the daemon's output were dropped, as nobody reads it; `polypeer logs` has them"
            )),
        }
        status.problems = health::problems(&status, &plugins, self.lost());
        status
    }

    /// What was removed from the home under this daemon, in words.
    fn lost(&self) -> Option<String> {
        health::lost(self.state.check().is_ok(), !self.had_key || self.home.identity_key().exists())
    }

    async fn logs(
        &self,
        id: &PluginId,
        lines: u32,
        follow: bool,
        answers: mpsc::Sender<Answer>,
    ) -> Result<(), CliError> {
        let is_installed = self.state.with({
            let id = id.clone();
            move |store| store.plugin(&id).map(|plugin| plugin.is_some())
        });
        if !is_installed.await? && (follow || !self.home.log(id).exists()) {
            return Err(state::no_such_plugin(id));
        }
        tokio::select! {
            sent = logs::send(self.home.log(id), lines as usize, follow, answers.clone()) => sent,
            () = self.removed(id) => {
                let _ = answers.send(Answer::Progress(format!("{id} was removed: its log ends here"))).await;
                let _ = answers.send(Answer::Done).await;
                Ok(())
            }
        }
    }

    /// Waits until a plugin is removed.
    async fn removed(&self, id: &PluginId) {
        loop {
            let mut removal = std::pin::pin!(self.removals.notified());
            removal.as_mut().enable();
            removal.await;
            let wanted = id.clone();
            if let Ok(None) = self.state.with(move |store| store.plugin(&wanted)).await {
                return;
            }
        }
    }

    async fn doctor(&self, peer: Option<NodeId>) -> Result<DoctorDocument, CliError> {
        let mut found = DoctorDocument::default();
        if let Some(lost) = self.lost() {
            found.checks.push(checks::problem("files in use", lost, health::LOST_REMEDY));
        }
        let status = self.status().await;
        found.checks.extend(checks::of_network(&status));
        for app in super::bundle::APPS {
            let id: PluginId = app.parse().expect("an id of ours");
            let wanted = match (self.config.net.seed_only, self.config.bundled_apps) {
                (true, _) => checks::Wanted::NotNow,
                (false, true) => checks::Wanted::Yes,
                (false, false) => checks::Wanted::No,
            };
            found.checks.push(checks::of_app(&id, self.plugin(&id).await.ok().as_deref(), wanted));
        }
        found.checks.extend(checks::of_plugins(&self.supervisor.plugins().await));
        if let Some(node) = peer {
            match self.admin(AdminRequest::Explain { node }).await? {
                AdminResponse::Explanation { causes, trace } => {
                    found.causes = causes.into_iter().map(CauseDocument::from).collect();
                    found.trace = trace;
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(found)
    }
}

/// The error for a response that does not fit its request.
pub(super) fn unexpected(response: &AdminResponse) -> CliError {
    let text: String = format!("{response:?}").chars().take(200).collect();
    CliError::failed(format!("unexpected response from the network core: {text}"), "this is a bug; restart the daemon")
}
