//! Owners, rights and flushing on Windows.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Makes a folder and those above it; they inherit the access list of the folder they are in.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes one folder.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Options for a new file, which inherits its folder's access list.
pub(crate) fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// Options for a new file of a plugin.
pub(crate) fn program_file(_executable: bool) -> OpenOptions {
    OpenOptions::new()
}

/// Nothing to set: a file's name says whether it is a program.
pub(crate) fn set_executable(_file: &File, _executable: bool) -> io::Result<()> {
    Ok(())
}

/// Every file may be executed, if its name says that it is a program.
pub(crate) fn is_executable(_metadata: &Metadata) -> bool {
    true
}

/// Not checked: the owner is not among a file's metadata.
pub(crate) fn is_ours(_metadata: &Metadata) -> bool {
    true
}

/// Not checked: the owner is not among a file's metadata.
pub(crate) fn is_ours_or_roots(_metadata: &Metadata) -> bool {
    true
}

/// Not checked: it takes a reading of the access list.
pub(crate) fn everybody_may_write(_metadata: &Metadata) -> bool {
    false
}

/// Not checked: it takes a reading of the access list.
pub(crate) fn others_may_write(_metadata: &Metadata) -> bool {
    false
}

/// Not checked: it takes a reading of the access list.
pub(crate) fn others_may_use(_metadata: &Metadata) -> bool {
    false
}

/// Nothing to take: see the access list of the folder it is in.
pub(crate) fn exclude_others(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes of a file's content.
pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// Not known; Windows reports a full disk as such when something is written.
pub(crate) fn is_full(_folder: &Path) -> bool {
    false
}

/// Nothing to do: the file system's journal keeps names.
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the symbolic link `link` to `target`, a path relative to the link's folder. Takes a right that Windows gives
/// administrators, and everybody in developer mode.
pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let folder = link.parent().unwrap_or(Path::new("."));
    match folder.join(target).is_dir() {
        true => std::os::windows::fs::symlink_dir(target, link),
        false => std::os::windows::fs::symlink_file(target, link),
    }
}

/// The absolute path. Not `canonicalize`, whose `\\?\` form many programs do not take for their folder.
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}
