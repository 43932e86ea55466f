//! Owners, rights, flushing and renaming on Unix.

use std::fs::{DirBuilder, File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Makes a folder and those above it, 0700. One that is there is left as it is.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes one folder, 0700. `AlreadyExists` when something has its name.
pub(crate) fn create_one_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes one folder that everybody may read, 0755.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

/// Options with which a new file is 0600.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Takes all rights of others to an open file that may be older than [`private_file`].
pub(crate) fn keep_private(file: &File) -> io::Result<()> {
    match file.metadata()? {
        metadata if metadata.is_file() && others_may_use(&metadata) => {
            file.set_permissions(Permissions::from_mode(0o600))
        }
        _ => Ok(()),
    }
}

/// Options with which a new file is 0755, or 0644 when it is no program.
pub(crate) fn program_file(executable: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(mode(executable));
    options
}

/// Sets 0755, or 0644, whatever the process's umask is.
pub(crate) fn set_executable(file: &File, executable: bool) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode(executable)))
}

fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// Whether anybody may execute it.
pub(crate) fn is_executable(metadata: &Metadata) -> bool {
    metadata.mode() & 0o111 != 0
}

/// Whether it belongs to this process's user.
pub(crate) fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == nix::unistd::geteuid().as_raw()
}

/// The name of the user that it belongs to.
pub(crate) fn owner(metadata: &Metadata) -> Option<String> {
    nix::unistd::User::from_uid(metadata.uid().into()).ok().flatten().map(|user| user.name)
}

/// Whether it belongs to this process's user or to root.
pub(crate) fn is_ours_or_roots(metadata: &Metadata) -> bool {
    is_ours(metadata) || metadata.uid() == 0
}

/// Whether users outside its group may write to it.
pub(crate) fn everybody_may_write(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0
}

/// Whether other users may write to it.
pub(crate) fn others_may_write(metadata: &Metadata) -> bool {
    metadata.mode() & 0o022 != 0
}

/// Whether other users have any right to it.
pub(crate) fn others_may_use(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 != 0
}

/// Takes all rights of others to a folder.
pub(crate) fn exclude_others(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Bytes that it takes on the disk.
pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// Whether the disk of `folder` has less than a block left for this user.
pub(crate) fn is_full(folder: &Path) -> bool {
    nix::sys::statvfs::statvfs(folder).is_ok_and(|disk| disk.blocks_available() == 0)
}

/// Makes new names in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the symbolic link `link` to `target`, a path relative to the link's folder.
pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// The path without links in it, as the kernel sees it.
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Options to read a file. Opening does not wait, not even when it turns out to be a named pipe.
pub(crate) fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    options
}

/// Options with which opening fails where the name is a symbolic link.
pub(crate) fn without_following() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

/// What a thing in a folder is, in words.
pub(crate) fn kind(of: FileType) -> &'static str {
    match () {
        () if of.is_file() => "a file",
        () if of.is_dir() => "a folder",
        () if of.is_symlink() => "a symbolic link",
        () if of.is_fifo() => "a named pipe",
        () if of.is_socket() => "a socket",
        () => "a device",
    }
}

/// What changes when a file is written to, or replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    identity: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// Whether both are states of one file, whatever was written to it between them.
    pub(crate) fn is_of_same_file(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// The state of a file: its identity, size and times.
pub(crate) fn state(metadata: &Metadata) -> FileState {
    FileState {
        identity: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        written: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Whether a file has other names: hard links.
pub(crate) fn has_other_names(metadata: &Metadata) -> bool {
    metadata.nlink() > 1
}

/// Gives a file or folder a new name in the same file system. `AlreadyExists` when something has that name already,
/// even since a moment ago: nothing is replaced.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_exclusively(from, to) {
        Err(error) if is_unsupported(&error) => {}
        done => return done,
    }
    if from.symlink_metadata()?.is_dir() {
        // A rename replaces an empty folder, and fails when something came into it meanwhile.
        std::fs::create_dir(to)?;
        return std::fs::rename(from, to);
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

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).map_err(io::Error::from)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_exclusively(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the system or the file system does not know an operation.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_name_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "new").expect("written");
        rename_new(&path("a"), &path("b")).expect("the name is free");
        assert!(!path("a").exists() && std::fs::read(path("b")).expect("there") == b"new");
        std::fs::write(path("a"), "newer").expect("written");
        std::os::unix::fs::symlink("nowhere", path("link")).expect("a link");
        std::fs::create_dir(path("folder")).expect("a folder");
        for taken in ["b", "link", "folder"] {
            let refused = rename_new(&path("a"), &path(taken)).expect_err("the name is taken");
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{taken}");
        }
        assert_eq!(std::fs::read(path("b")).expect("there"), b"new");
        std::fs::create_dir(path("other")).expect("a folder");
        assert!(rename_new(&path("other"), &path("folder")).is_err(), "not even an empty folder");
        rename_new(&path("other"), &path("third")).expect("the name is free");
    }

    #[test]
    fn named_pipe_opens_without_waiting_for_a_writer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("a named pipe");
        let file = without_waiting().open(&pipe).expect("opened");
        assert_eq!(kind(file.metadata().expect("inspected").file_type()), "a named pipe");
    }

    #[test]
    fn state_tells_a_file_that_was_written_to_or_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        let now = || state(&std::fs::metadata(&path).expect("inspected"));
        std::fs::write(&path, "one").expect("written");
        let first = now();
        assert_eq!(first, now());
        std::fs::write(&path, "longer").expect("written");
        let second = now();
        assert_ne!(first, second);
        std::fs::write(folder.path().join("b"), "longer").expect("written");
        std::fs::rename(folder.path().join("b"), &path).expect("replaced");
        assert_ne!(second, now());
    }
}
