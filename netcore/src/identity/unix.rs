//! Private files, like the key file, on systems where files have owners and modes.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::IdentityError;

/// Reads a regular file that only this user can read, at most one byte more than `limit`.
pub(super) fn read_private(path: &Path, limit: usize) -> Result<Vec<u8>, IdentityError> {
    let path_buf = || path.to_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => IdentityError::Denied { path: path_buf() },
        _ if source.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => IdentityError::Link { path: path_buf() },
        _ => IdentityError::Io { action: "read", path: path_buf(), source },
    };
    // Does not follow a link, and does not wait for the writer of a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(IdentityError::NotAFile { path: path_buf() });
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(IdentityError::NotOurs { path: path_buf(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path_buf(), mode: metadata.mode() & 0o777 });
    }
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Creates a file that only this user can read.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Creates a file if it does not exist, and makes sure that only this user can read it.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.metadata()?.mode() & 0o077 {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(0o600)),
    }
}

/// Flushes `folder`, so that a new name in it survives a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
