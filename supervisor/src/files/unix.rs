//! Owners, rights and flushing on Unix.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes a folder and those above it, 0700. One that is there is left as it is.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
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
