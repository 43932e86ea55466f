//! What removed plugins left behind: data folders and logs that no installed plugin owns.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use polypeer_ipc_protocol::ids::PluginId;

use super::Daemon;
use crate::cli_error::CliError;
use crate::control::documents::Leftover;
use crate::home::Home;
use crate::log_files::files_of;
use crate::supervise::disk_bytes;

/// Most leftovers listed; a home with more has a problem of another kind.
const MAX_LISTED: usize = 10_000;

impl Daemon {
    /// All leftovers, in the order of their ids.
    pub(super) async fn leftovers(&self) -> Result<Vec<Leftover>, CliError> {
        let installed = self.state.with(|store| store.plugins()).await?;
        let installed: HashSet<PluginId> = installed.into_iter().map(|plugin| plugin.id).collect();
        let home = self.home.clone();
        let found = tokio::task::spawn_blocking(move || list(&home, &installed)).await;
        found.unwrap_or_else(|_| Err(io::Error::other("the background task was aborted"))).map_err(|error| {
            CliError::failed(
                format!("failed to list what removed plugins left: {error}"),
                "check the rights of the home",
            )
        })
    }

    /// Deletes the data and the log of a plugin that is not installed. Returns whether there was anything.
    pub(super) async fn delete_leftovers(&self, id: &PluginId) -> Result<bool, CliError> {
        let (home, wanted) = (self.home.clone(), id.clone());
        let path = home.data(id);
        let deleted = tokio::task::spawn_blocking(move || {
            let had_log = !files_of(&home.logs(), wanted.as_str()).is_empty();
            match std::fs::remove_dir_all(home.data(&wanted)) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(had_log),
                Err(error) => Err(error),
            }
        });
        let deleted = deleted.await.unwrap_or_else(|_| Err(io::Error::other("the background task was aborted")));
        let deleted = deleted.map_err(|error| {
            CliError::failed(
                format!("failed to delete {}: {error}", path.display()),
                "check its rights, then try again",
            )
        })?;
        self.supervisor.delete_log(id.clone()).await;
        Ok(deleted)
    }
}

fn list(home: &Home, installed: &HashSet<PluginId>) -> io::Result<Vec<Leftover>> {
    let mut found: BTreeMap<PluginId, Leftover> = BTreeMap::new();
    for id in names(&home.data_root(), "")?.chain(names(&home.logs(), ".log")?) {
        if installed.contains(&id) || found.len() >= MAX_LISTED {
            continue;
        }
        let logs = files_of(&home.logs(), id.as_str());
        let log_bytes = logs.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
        let data_bytes = disk_bytes(&home.data(&id));
        found.insert(id.clone(), Leftover { id, data_bytes, log_bytes });
    }
    Ok(found.into_values().collect())
}

/// The plugin ids among the names in a folder, without `ending`.
fn names(folder: &Path, ending: &'static str) -> io::Result<impl Iterator<Item = PluginId>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let names = entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(move |name| name.strip_suffix(ending)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_no_installed_plugin_is_listed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path());
        let id = |name: &str| name.parse::<PluginId>().expect("an id");
        for name in ["here", "gone"] {
            std::fs::create_dir_all(home.data(&id(name))).expect("writable");
            std::fs::write(home.data(&id(name)).join("file"), vec![1; 10_000]).expect("writable");
        }
        std::fs::create_dir_all(home.logs()).expect("writable");
        for name in ["here.log", "gone.log", "gone.log.1", "logged.log", "netcore_.log"] {
            std::fs::write(home.logs().join(name), "12345").expect("writable");
        }
        let found = list(&home, &HashSet::from([id("here")])).expect("listed");
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["gone", "logged"]);
        assert!(found[0].data_bytes >= 10_000 && found[0].log_bytes == 10);
        assert_eq!((found[1].data_bytes, found[1].log_bytes), (0, 5));
    }
}
