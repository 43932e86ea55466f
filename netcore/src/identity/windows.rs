//! Private files, like the key file, on Windows, where a profile folder is private to its user already.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use super::IdentityError;

/// Reads a regular file, at most one byte more than `limit`.
pub(super) fn read_private(path: &Path, limit: usize) -> Result<Vec<u8>, IdentityError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => IdentityError::Denied { path: path.to_owned() },
        _ => IdentityError::Io { action: "read", path: path.to_owned(), source },
    };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.is_symlink() {
        return Err(IdentityError::Link { path: path.to_owned() });
    }
    if !metadata.is_file() {
        return Err(IdentityError::NotAFile { path: path.to_owned() });
    }
    let mut content = Vec::new();
    File::open(path).map_err(failed)?.take(limit as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Creates a file, which inherits the folder's access list.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Creates a file if it does not exist; it inherits the folder's access list.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
}

/// Does nothing: the file system journals the directory entry.
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
