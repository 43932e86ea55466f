//! Owners, rights, flushing and renaming on Windows.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Makes a folder and those above it; they inherit the access list of the folder they are in.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes one folder, which inherits the access list of the folder it is in. `AlreadyExists` when something has its
/// name.
pub(crate) fn create_one_private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Makes one folder.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Options for a new file, which inherits its folder's access list.
pub(crate) fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// Nothing to take: a file inherits its folder's access list.
pub(crate) fn keep_private(_file: &File) -> io::Result<()> {
    Ok(())
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

/// Not known: the owner is not among a file's metadata.
pub(crate) fn owner(_metadata: &Metadata) -> Option<String> {
    None
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

/// Options to read a file. Named pipes are not among the files of a folder.
pub(crate) fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// Options to open a file. Links are followed: making one takes a right that few users have.
pub(crate) fn without_following() -> OpenOptions {
    OpenOptions::new()
}

/// What a thing in a folder is, in words.
pub(crate) fn kind(of: FileType) -> &'static str {
    match () {
        () if of.is_file() => "a file",
        () if of.is_dir() => "a folder",
        () if of.is_symlink() => "a symbolic link",
        () => "a device",
    }
}

/// What changes when a file is written to. A file's identity is not among its metadata; one that replaced it has
/// another time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    size: u64,
    written: Option<SystemTime>,
    created: Option<SystemTime>,
}

impl FileState {
    /// Whether both are states of one file, whatever was written to it between them.
    pub(crate) fn is_of_same_file(&self, other: &Self) -> bool {
        self.created == other.created
    }
}

/// The state of a file: its size and times.
pub(crate) fn state(metadata: &Metadata) -> FileState {
    FileState { size: metadata.len(), written: metadata.modified().ok(), created: metadata.created().ok() }
}

/// Not known from the metadata; [`rename_new`] leaves a second name only if it is interrupted.
pub(crate) fn has_other_names(_metadata: &Metadata) -> bool {
    false
}

/// Gives a file or folder a new name in the same file system. `AlreadyExists` when something has that name already,
/// even since a moment ago: nothing is replaced.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_dir() {
        if to.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        return std::fs::rename(from, to); // Windows never replaces anything by a folder.
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => {
            // A file system without hard links: an empty file of ours takes the name, and is replaced.
            OpenOptions::new().write(true).create_new(true).open(to)?;
            std::fs::rename(from, to)
        }
    }
}
