//! Bundled apps: installed once into a new home, with the permissions of their manifests, and replaced when this
//! program comes with another version. A removed one stays away until `polypeer plugin install NAME`, one that the
//! operator installed from elsewhere is left alone, and one that is not built yet is tried again at the next start.

use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::ids::PluginId;

use crate::cli_error::CliError;
use crate::home::Home;
use crate::install::{self, Way};
use crate::output::Printer;
use crate::store::{Installed, Store};
use crate::supervise::Programs;

/// Ids of the bundled apps, which are also the names of their folders.
pub(crate) const APPS: &[&str] = &["chat", "files"];
/// Their [`Installed::source`].
const SOURCE: &str = "bundled";

/// Installs the apps that were never installed, and replaces those that came with another version of Polypeer. Returns
/// those that are new here.
pub(super) fn install(home: &Home, store: &mut Store, printer: &Printer) -> Result<Vec<&'static str>, CliError> {
    let mut new = Vec::new();
    for name in APPS {
        let id: PluginId = name.parse().expect("an id of ours");
        let note = format!("bundled {id}");
        let before = store.plugin(&id)?;
        let is_operators = match &before {
            Some(plugin) => plugin.source != SOURCE,
            None => store.note(&note)?.is_some(),
        };
        if is_operators {
            continue;
        }
        let Some(folder) = folder(name) else {
            if before.is_none() {
                printer.say(format!("the bundled app {id} is not installed: it does not lie beside this program"));
            }
            continue;
        };
        let done = if before.is_some() { "updated" } else { "installed" };
        match install_one(home, store, &folder, before.as_ref()) {
            Ok(false) => {}
            Ok(true) => {
                store.set_note(&note, "installed")?;
                printer.say(format!("{done} the bundled app {id}; `polypeer plugin info {id}` says what it may do"));
                if before.is_none() {
                    new.push(*name);
                }
            }
            Err(error) => printer.say(format!("the bundled app {id} is not {done}: {error}")),
        }
    }
    Ok(new)
}

/// Where the bundled app `name` lies, if there is one beside this program.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let lib = Programs::find().ok()?.lib?;
    let folder = lib.join("contrib/apps").join(name);
    (APPS.contains(&name) && folder.is_dir()).then_some(folder)
}

/// The [`Installed::source`] of what is installed from `folder`: a bundled app stays one.
pub(super) fn source(folder: &Path, id: &PluginId, way: Way) -> String {
    match self::folder(id.as_str()).is_some_and(|bundled| bundled == folder) && way == Way::Copy {
        true => SOURCE.into(),
        false => folder.display().to_string(),
    }
}

/// Returns whether it was installed, or `before` is the same already.
fn install_one(home: &Home, store: &mut Store, folder: &Path, before: Option<&Installed>) -> Result<bool, CliError> {
    let candidate = install::inspect(folder, Way::Copy)?;
    if before.is_some_and(|before| before.digest == candidate.digest) {
        return Ok(false);
    }
    let swapped = install::swap_in(home, &candidate)?;
    let installed = Installed {
        id: candidate.manifest.plugin.id.clone(),
        manifest: candidate.text,
        digest: candidate.digest,
        enabled: before.is_none_or(|before| before.enabled),
        source: SOURCE.into(),
    };
    match store.install(&installed) {
        Ok(()) => {
            swapped.keep();
            Ok(true)
        }
        Err(error) => {
            if let Err(left) = swapped.take_back() {
                tracing::warn!("{left}; the next start removes it");
            }
            Err(error.into())
        }
    }
}
