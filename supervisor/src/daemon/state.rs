//! Installed plugins: turns the store's rows into [`PluginSpec`]s for the supervisor. SQLite blocks, so every access
//! runs on a thread for blocking work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use polypeer_ipc_protocol::ids::{NodeId, PluginId};

use super::settings::Settings;
use crate::cli_error::{CliError, Exit};
use crate::home::Home;
use crate::manifest::{FILE_NAME, LimitSettings, Limits, Manifest, Mode, Peers};
use crate::petname::Petname;
use crate::store::{Installed, OpenFiles, Store, StoreError};
use crate::supervise::PluginSpec;

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub(super) struct State {
    home: Home,
    settings: Settings,
    files: OpenFiles,
    store: Arc<Mutex<Store>>,
}

/// A plugin as recorded in the store.
pub(super) struct Recorded {
    pub(super) installed: Installed,
    pub(super) spec: PluginSpec,
    /// What its manifest says of peers, which the operator may have narrowed.
    pub(super) asked_peers: Peers,
    /// The operator's limits, as typed.
    pub(super) overrides: Vec<(String, String)>,
    /// Keys that this version does not enforce: of the manifest, and of limits from whatever source.
    pub(super) not_enforced: Vec<String>,
    /// The operator's names of those on its list of peers.
    pub(super) names: BTreeMap<NodeId, Petname>,
}

impl State {
    pub(super) fn new(home: Home, settings: Settings, store: Store) -> Self {
        Self { home, settings, files: store.files(), store: Arc::new(Mutex::new(store)) }
    }

    /// Fails when the files of the store were removed or replaced, so that no change can last.
    pub(super) fn check(&self) -> Result<(), CliError> {
        Ok(self.files.check()?)
    }

    /// Runs `work` on the store.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CliError> {
        let store = self.store.clone();
        // A transaction that panicked was rolled back, so the store is as it was.
        let work = move || work(&mut store.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(CliError::failed(
                "the background task was aborted",
                "the daemon is stopping, or has a bug: see its output",
            )),
        }
    }

    /// All plugins that can run. One whose stored manifest this version rejects is skipped, with a log message.
    pub(super) async fn specs(&self) -> Result<Vec<PluginSpec>, CliError> {
        let mut specs = Vec::new();
        for installed in self.with(|store| store.plugins()).await? {
            let id = installed.id.clone();
            match self.recorded_from(installed).await {
                Ok(recorded) => {
                    let mut spec = recorded.spec;
                    // Plugins with a mode of a later version stay installed, but do not run.
                    spec.enabled &= spec.manifest.plugin.mode == Mode::Native;
                    specs.push(spec);
                }
                Err(error) => tracing::error!("the plugin {id} cannot run: {error}"),
            }
        }
        Ok(specs)
    }

    /// One plugin.
    pub(super) async fn recorded(&self, id: &PluginId) -> Result<Recorded, CliError> {
        let wanted = id.clone();
        match self.with(move |store| store.plugin(&wanted)).await? {
            Some(installed) => self.recorded_from(installed).await,
            None => Err(no_such_plugin(id)),
        }
    }

    async fn recorded_from(&self, installed: Installed) -> Result<Recorded, CliError> {
        let path = self.home.plugin(&installed.id).join(FILE_NAME);
        let mut manifest = Manifest::parse(&path, &installed.manifest)?;
        let id = installed.id.clone();
        let read = move |store: &mut Store| {
            Ok((store.limits(&id)?, store.peer_list(&id)?, store.is_listed_only(&id)?, store.petnames()?))
        };
        let (overrides, peers, listed_only, mut names) = self.with(read).await?;
        names.retain(|node, _| peers.contains(node));
        let asked_peers = manifest.permissions.peers.clone();
        if listed_only && asked_peers == Peers::Any {
            manifest.permissions.peers = Peers::List;
        }
        let mut set = LimitSettings::default();
        for (key, value) in &overrides {
            match LimitSettings::from_text(key, value) {
                Ok(one) => set = set.overlaid(&one),
                Err(what) => tracing::error!(plugin = %installed.id, "a stored limit is ignored: {what}"),
            }
        }
        let limits = self.settings.limits().overlaid(&manifest.limits).overlaid(&set);
        let not_enforced = manifest.not_enforced(&limits);
        let spec = PluginSpec {
            folder: self.home.plugin(&installed.id),
            data: self.home.data(&installed.id),
            limits: Limits::resolve(&[&limits]),
            grants: manifest.permissions.grants(&peers),
            enabled: installed.enabled,
            manifest,
        };
        Ok(Recorded { installed, spec, asked_peers, overrides, not_enforced, names })
    }
}

/// The error for an id that is not installed.
pub(super) fn no_such_plugin(id: &PluginId) -> CliError {
    CliError::new(
        Exit::Usage,
        format!("no plugin {id} is installed"),
        "list the installed ones with `polypeer plugin list`",
    )
}
