//! Changes what a plugin may use, on the operator's request: its limits, and the peers that it communicates with. A
//! change is recorded in the store first and then applied to the children; one that fails is undone.

use polypeer_ipc_protocol::ids::{NodeId, PluginId};
use tokio::sync::mpsc;

use super::Daemon;
use crate::cli_error::{CliError, Exit};
use crate::control::Answer;
use crate::control::documents::PluginDocument;
use crate::manifest::values::shown_size;
use crate::manifest::{LimitSettings, Peers};
use crate::store::MAX_PEER_LIST;
use crate::supervise::{LimitError, machine_memory};

impl Daemon {
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
