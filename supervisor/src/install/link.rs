//! Linked plugins: installed by a symbolic link to their folder, so that edits take effect at the next start.
//!
//! The operator approves the manifest and the place, not the files. So the manifest that counts stays the approved one,
//! everything in the folder must belong to this user or root and be writable by nobody else outside their groups, which
//! each start checks again, and the plugin itself sees the folder read-only where the kernel allows
//! ([`crate::process`]). The folders above it are not checked.

use std::path::{Path, PathBuf};

use super::{InstallError, copy};
use crate::files;
use crate::home::Home;
use crate::manifest::FILE_NAME;
use crate::toml_file;

/// The folder as the link names it, once everything in it may be run from there.
pub(super) fn check(folder: &Path) -> Result<PathBuf, InstallError> {
    let io = |source| InstallError::Io { action: "inspect", path: folder.into(), source };
    let real = files::real_path(folder).map_err(io)?;
    copy::check_content(&real)?;
    copy::check_owners(&real)?;
    Ok(real)
}

/// Refuses to start a plugin whose installed folder is a link to one in which another user could by now change what
/// runs.
///
/// # Errors
/// When that is so, or the folder cannot be read.
pub fn check_at_start(installed: &Path) -> Result<(), InstallError> {
    if !installed.is_symlink() {
        return Ok(());
    }
    let io = |source| InstallError::Io { action: "inspect", path: installed.into(), source };
    copy::check_owners(&files::real_path(installed).map_err(io)?)
}

/// Refuses a folder inside the home and a home inside the folder: the one is hidden from the plugin, the other is read
/// by it.
pub(super) fn check_place(home: &Home, folder: &Path) -> Result<(), InstallError> {
    let root = files::real_path(home.root()).map_err(|source| InstallError::Io {
        action: "inspect",
        path: home.root().into(),
        source,
    })?;
    if folder.starts_with(&root) || root.starts_with(folder) {
        return Err(InstallError::Content {
            path: folder.into(),
            problem: format!("and the node's folder {} lie in each other", root.display()),
            hint: "keep the sources of a linked plugin elsewhere, or install a copy without --link",
        });
    }
    Ok(())
}

/// What the operator approves: the place and the manifest, hex.
pub(super) fn digest(folder: &Path, manifest: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [b"link".as_slice(), folder.as_os_str().as_encoded_bytes(), manifest.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

/// What the operator should know about an installed plugin's folder; nothing unless it is linked.
pub fn warning(installed: &Path, approved: &str) -> Option<String> {
    let folder = std::fs::read_link(installed).ok()?;
    match toml_file::read(&folder.join(FILE_NAME), "") {
        Ok(text) if text == approved => None,
        Ok(_) => Some(format!(
            "its plugin.toml was changed since you approved it; the approved one applies until: \
             `polypeer plugin install --link {}`",
            folder.display()
        )),
        Err(error) => Some(format!("it is linked to a folder that cannot be read: {error}")),
    }
}
