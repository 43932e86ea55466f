//! Installs a plugin from a folder. It checks the manifest, copies everything to `plugins/<id>.new` (or makes that a
//! link to the folder), flushes, and swaps the names; then [`crate::daemon`] records the plugin in the store. A crash
//! at any point leaves the old version or the new one; [`sweep`], at the start of the daemon, removes the rest.

mod copy;
mod link;

use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::ids::PluginId;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::home::Home;
use crate::manifest::{FILE_NAME, Manifest};
use crate::store::Installed;
use crate::toml_file::{self, FileError};

pub use copy::{MAX_BYTES, MAX_DEPTH, MAX_ENTRIES};
pub use link::{check_at_start, warning as link_warning};

/// How a plugin gets into the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As a copy, which later edits of the folder do not reach.
    Copy,
    /// As a link: each start runs what is in the folder then.
    Link,
}

/// Errors of an installation; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The manifest is missing or invalid.
    #[error(transparent)]
    Manifest(#[from] FileError),
    /// A path could not be read or written.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// The operation, to be read after "failed to".
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The folder has contents that cannot be installed.
    #[error("{} {problem}", path.display())]
    Content {
        path: PathBuf,
        /// The problem, to be read after the path.
        problem: String,
        hint: &'static str,
    },
    /// The program of the command does not exist or is not executable.
    #[error("the program {} of the plugin {id} does not exist or is not executable", path.display())]
    NoProgram { id: PluginId, path: PathBuf },
    /// The folder changed after the operator approved it.
    #[error("{} changed after its permissions were shown", path.display())]
    Changed { path: PathBuf },
}

impl InstallError {
    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Manifest(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free space on the disk and try again; nothing was changed".into()
            }
            Self::Io { .. } => "check the owner and the permissions; nothing was changed".into(),
            Self::Content { hint, .. } => (*hint).into(),
            Self::NoProgram { .. } => "build it first (see its README), or correct command in plugin.toml".into(),
            Self::Changed { .. } => "run the command again and review its permissions".into(),
        }
    }
}

/// A checked folder.
#[derive(Debug)]
pub struct Candidate {
    pub manifest: Manifest,
    /// The manifest's text.
    pub text: String,
    /// BLAKE3 of what the operator approves, hex: names, kinds, execute permissions and contents of a copy, place and
    /// manifest of a link.
    pub digest: String,
    /// Where it is.
    pub folder: PathBuf,
    pub way: Way,
}

/// Reads and checks a folder as an installation does. Changes nothing.
///
/// # Errors
/// When the folder cannot be installed.
pub fn inspect(folder: &Path, way: Way) -> Result<Candidate, InstallError> {
    let manifest = Manifest::load(folder)?;
    let program = &manifest.plugin.command[0];
    if program.contains('/') && !executable(&folder.join(program)) {
        return Err(InstallError::NoProgram { id: manifest.plugin.id.clone(), path: folder.join(program) });
    }
    let path = folder.join(FILE_NAME);
    let text = toml_file::read(&path, "")?;
    let manifest = Manifest::parse(&path, &text)?;
    let (folder, digest) = match way {
        Way::Copy => (folder.to_path_buf(), copy::digest(folder)?),
        Way::Link => {
            let folder = link::check(folder)?;
            let digest = link::digest(&folder, &text);
            (folder, digest)
        }
    };
    Ok(Candidate { manifest, text, digest, folder, way })
}

fn executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && files::is_executable(&file))
}

/// Puts a candidate into the home and swaps it with the previous version, which is kept until [`Swapped::keep`].
///
/// # Errors
/// When the copy fails or differs from what was inspected; the previous version is then in place.
pub fn swap_in(home: &Home, candidate: &Candidate) -> Result<Swapped, InstallError> {
    let place = home.plugin(&candidate.manifest.plugin.id);
    let (fresh, old) = (beside(&place, "new"), beside(&place, "old"));
    remove(&fresh)?;
    let put = match candidate.way {
        Way::Copy => copied(candidate, &fresh),
        Way::Link => link::check_place(home, &candidate.folder).and_then(|()| {
            files::symlink(&candidate.folder, &fresh).map_err(|source| InstallError::Io {
                action: "make the link",
                path: fresh.clone(),
                source,
            })
        }),
    };
    if let Err(error) = put {
        let _ = remove(&fresh); // The first error is the one to tell; the next sweep tries again.
        return Err(error);
    }
    remove(&old)?;
    let replaced = is_there(&place);
    if replaced {
        rename(&place, &old)?;
    }
    if let Err(error) = rename(&fresh, &place) {
        if replaced {
            rename(&old, &place)?;
        }
        return Err(error);
    }
    Ok(Swapped { place, old: replaced.then_some(old) })
}

/// Copies a candidate, and fails if the copy is not what was approved.
fn copied(candidate: &Candidate, to: &Path) -> Result<(), InstallError> {
    copy::copy(&candidate.folder, to)?;
    match copy::digest(to)? == candidate.digest {
        true => Ok(()),
        false => Err(InstallError::Changed { path: candidate.folder.clone() }),
    }
}

/// An installation whose files are in place and whose record is pending.
#[derive(Debug)]
#[must_use = "either keep it or take it back"]
pub struct Swapped {
    place: PathBuf,
    old: Option<PathBuf>,
}

impl Swapped {
    /// Deletes the previous version, once the record is written.
    pub fn keep(self) {
        if let Some(old) = self.old {
            let _ = remove(&old); // The next sweep tries again.
        }
    }

    /// Restores the previous version, when the record could not be written.
    ///
    /// # Errors
    /// When the names cannot be swapped back; the next [`sweep`] does it.
    pub fn take_back(self) -> Result<(), InstallError> {
        remove(&self.place)?;
        self.old.map_or(Ok(()), |old| rename(&old, &self.place))
    }
}

/// Deletes the installed copy of a plugin, or the link to it.
///
/// # Errors
/// When it cannot be deleted.
pub fn delete(home: &Home, id: &PluginId) -> Result<(), InstallError> {
    remove(&home.plugin(id))
}

/// Removes leftovers of a crash from `plugins/`. `recorded` is what the store has.
///
/// # Errors
/// When the folder cannot be read or a leftover cannot be removed.
pub fn sweep(home: &Home, recorded: &[Installed]) -> Result<(), InstallError> {
    let io = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| InstallError::Io { action, path, source }
    };
    let folder = home.plugins();
    for entry in std::fs::read_dir(&folder).map_err(io("read", &folder))? {
        let path = entry.map_err(io("read", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            remove(&path)?;
        }
    }
    for plugin in recorded {
        let place = home.plugin(&plugin.id);
        let old = beside(&place, "old");
        if !is_there(&old) {
            continue;
        }
        if is_recorded(&place, plugin) {
            remove(&old)?;
        } else {
            remove(&place)?;
            rename(&old, &place)?;
        }
    }
    Ok(())
}

/// Whether the version in place is the one in the store.
fn is_recorded(place: &Path, plugin: &Installed) -> bool {
    match std::fs::read_link(place) {
        Ok(folder) => link::digest(&folder, &plugin.manifest) == plugin.digest,
        Err(_) => is_there(place) && copy::digest(place).is_ok_and(|found| found == plugin.digest),
    }
}

/// Whether the name exists, a link to a folder that is gone included.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn beside(place: &Path, extension: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn remove(path: &Path) -> Result<(), InstallError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(InstallError::Io { action: "remove", path: path.into(), source })
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), InstallError> {
    let done = std::fs::rename(from, to).and_then(|()| match to.parent() {
        Some(folder) => files::sync_folder(folder),
        None => Ok(()),
    });
    done.map_err(|source| InstallError::Io { action: "rename", path: from.into(), source })
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
