//! Copying a plugin's folder, and telling by a hash whether two are the same. Takes folders, regular files and symbolic
//! links that stay inside; refuses everything else, and more than the limits.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::InstallError;
use crate::files;

/// Most files, folders and links of one plugin.
pub const MAX_ENTRIES: usize = 10_000;
/// Most bytes of all files of one plugin.
pub const MAX_BYTES: u64 = 1 << 30;
/// Most folders inside each other.
pub const MAX_DEPTH: usize = 32;

/// Most files, folders and links in a linked plugin's folder, with those in [`SKIPPED`]: each start looks at all.
const MAX_CHECKED: usize = 100_000;

/// Names that are never part of a plugin's copy.
const SKIPPED: &[&str] = &[".git", "__pycache__"];

/// What to do about a link that leaves the folder; most are in a Python environment.
const LINK_HINT: &str =
    "replace the link with the file itself; `python3 -m venv --copies` makes an environment without such links";

/// One thing in a plugin's folder.
struct Entry {
    /// From the plugin's folder.
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    File { size: u64, executable: bool },
    Link { target: PathBuf },
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
    move |source| InstallError::Io { action, path: path.into(), source }
}

fn refused(path: &Path, problem: impl Into<String>, hint: &'static str) -> InstallError {
    InstallError::Content { path: path.into(), problem: problem.into(), hint }
}

/// Everything in `root`, folders before what is in them, in the order of names.
fn entries(root: &Path) -> Result<Vec<Entry>, InstallError> {
    let real_root = std::fs::canonicalize(root).map_err(io("inspect", root))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let full = root.join(&folder);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&full).map_err(io("read", &full))? {
            let name = entry.map_err(io("read", &full))?.file_name();
            if !SKIPPED.iter().any(|skipped| name == OsStr::new(skipped)) {
                names.push(name);
            }
            if found.len() + names.len() > MAX_ENTRIES {
                let problem = format!("has more than {MAX_ENTRIES} files and folders");
                return Err(refused(root, problem, "leave out what the plugin does not need to run"));
            }
        }
        names.sort();
        for name in names {
            let path = folder.join(name);
            let kind = kind(root, &real_root, &path)?;
            match &kind {
                Kind::Folder if path.components().count() > MAX_DEPTH => {
                    let problem = format!("is more than {MAX_DEPTH} folders deep");
                    return Err(refused(&root.join(path), problem, "use fewer nested folders"));
                }
                Kind::Folder => waiting.push(path.clone()),
                Kind::File { size, .. } => bytes += size,
                Kind::Link { .. } => {}
            }
            if bytes > MAX_BYTES {
                let problem = format!("has more than {} MiB", MAX_BYTES >> 20);
                return Err(refused(root, problem, "leave out what the plugin does not need to run"));
            }
            found.push(Entry { path, kind });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn kind(root: &Path, real_root: &Path, path: &Path) -> Result<Kind, InstallError> {
    let full = root.join(path);
    let metadata = std::fs::symlink_metadata(&full).map_err(io("inspect", &full))?;
    if metadata.is_dir() {
        return Ok(Kind::Folder);
    }
    if metadata.is_file() {
        return Ok(Kind::File { size: metadata.len(), executable: files::is_executable(&metadata) });
    }
    if !metadata.is_symlink() {
        return Err(refused(&full, "is neither a file nor a folder", "remove it from the plugin's folder"));
    }
    let target = std::fs::read_link(&full).map_err(io("inspect", &full))?;
    // The real target, since a lexical check is fooled by links to folders in the middle of a path.
    let inside = std::fs::canonicalize(&full).is_ok_and(|real| real.starts_with(real_root));
    if target.is_absolute() || !inside {
        let problem = format!("is a symbolic link that leaves the folder or is broken ({})", target.display());
        return Err(refused(&full, problem, LINK_HINT));
    }
    Ok(Kind::Link { target })
}

/// Refuses a folder that has more than the limits, or other things than a plugin may have.
pub(super) fn check_content(root: &Path) -> Result<(), InstallError> {
    entries(root).map(drop)
}

/// Refuses a folder in which another user could change what runs. Looks at everything, also at what a copy leaves out:
/// Python runs what is in `__pycache__`.
pub(super) fn check_owners(root: &Path) -> Result<(), InstallError> {
    let real_root = std::fs::canonicalize(root).map_err(io("inspect", root))?;
    let mut waiting = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(inside) = waiting.pop() {
        // Joining an empty path would end the root's with a slash.
        let path = if inside.as_os_str().is_empty() { root.to_path_buf() } else { root.join(&inside) };
        let metadata = match std::fs::symlink_metadata(&path) {
            // Removed since its folder was read, for example by a git that runs.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path != root => continue,
            found => found.map_err(io("inspect", &path))?,
        };
        if !files::is_ours_or_roots(&metadata) {
            return Err(refused(&path, "belongs to another user", "give it to the user that runs the daemon"));
        }
        if !metadata.is_symlink() && files::everybody_may_write(&metadata) {
            return Err(refused(&path, "is writable by every user", "take that right away: chmod -R o-w FOLDER"));
        }
        if metadata.is_symlink() {
            kind(root, &real_root, &inside)?; // It may not leave the folder.
        }
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(io("read", &path))? {
                waiting.push(inside.join(entry.map_err(io("read", &path))?.file_name()));
                seen += 1;
            }
        }
        if seen > MAX_CHECKED {
            let problem = format!("has more than {MAX_CHECKED} files and folders, too many to check");
            return Err(refused(root, problem, "keep elsewhere what the plugin does not need to run"));
        }
    }
    Ok(())
}

/// BLAKE3 over names, kinds, rights to execute and contents of a plugin's folder, hex.
pub(super) fn digest(root: &Path) -> Result<String, InstallError> {
    let mut hasher = blake3::Hasher::new();
    let word = |bytes: &[u8], hasher: &mut blake3::Hasher| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for entry in entries(root)? {
        word(entry.path.as_os_str().as_encoded_bytes(), &mut hasher);
        match &entry.kind {
            Kind::Folder => word(b"folder", &mut hasher),
            Kind::Link { target } => {
                word(b"link", &mut hasher);
                word(target.as_os_str().as_encoded_bytes(), &mut hasher);
            }
            Kind::File { executable, .. } => {
                word(if *executable { b"program" } else { b"file" }, &mut hasher);
                let path = root.join(&entry.path);
                let file = File::open(&path).map_err(io("read", &path))?;
                let mut content = blake3::Hasher::new();
                content.update_reader(file.take(MAX_BYTES)).map_err(io("read", &path))?;
                word(content.finalize().as_bytes(), &mut hasher);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Copies `from` to the new folder `to` and flushes it. Rights: what was executable is executable for all, nothing is
/// writable but by the owner, set-user-id bits are gone.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), InstallError> {
    let folder = |path: &Path| files::create_folder(path).map_err(io("create", path));
    folder(to)?;
    let mut folders = vec![to.to_path_buf()];
    let mut left = MAX_BYTES;
    for entry in entries(from)? {
        let (source, target) = (from.join(&entry.path), to.join(&entry.path));
        match entry.kind {
            Kind::Folder => {
                folder(&target)?;
                folders.push(target);
            }
            Kind::Link { target: link } => {
                files::symlink(&link, &target).map_err(io("create", &target))?;
            }
            Kind::File { executable, .. } => left -= copy_file(&source, &target, executable, left)?,
        }
    }
    for folder in folders {
        files::sync_folder(&folder).map_err(io("flush", &folder))?;
    }
    Ok(())
}

/// Copies one file of at most `most` bytes; returns its size.
fn copy_file(from: &Path, to: &Path, executable: bool, most: u64) -> Result<u64, InstallError> {
    let source = File::open(from).map_err(io("read", from))?;
    let mut target = files::program_file(executable).write(true).create_new(true).open(to).map_err(io("create", to))?;
    let written = std::io::copy(&mut source.take(most), &mut target).map_err(io("copy", from))?;
    files::set_executable(&target, executable).map_err(io("set the permissions of", to))?;
    target.flush().and_then(|()| target.sync_all()).map_err(io("flush", to))?;
    Ok(written)
}
