//! Owners, rights, flushing and renaming of files and folders: what Unix and Windows do differently.
//!
//! Windows has no mode: files in a user's profile folder inherit an access list that keeps other users out, and whether
//! a folder elsewhere does the same is not checked.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, Write};
use std::path::Path;

#[cfg(unix)]
pub(crate) use unix::{
    FileState, allocated_bytes, create_folder, create_one_private_folder, create_private_folder, everybody_may_write,
    exclude_others, has_other_names, is_executable, is_full, is_ours, is_ours_or_roots, keep_private, kind,
    others_may_use, others_may_write, owner, private_file, program_file, real_path, rename_new, set_executable, state,
    symlink, sync_folder, without_following, without_waiting,
};
#[cfg(windows)]
pub(crate) use windows::{
    FileState, allocated_bytes, create_folder, create_one_private_folder, create_private_folder, everybody_may_write,
    exclude_others, has_other_names, is_executable, is_full, is_ours, is_ours_or_roots, keep_private, kind,
    others_may_use, others_may_write, owner, private_file, program_file, real_path, rename_new, set_executable, state,
    symlink, sync_folder, without_following, without_waiting,
};

/// Makes a file in `folder`, writes to it and removes it again.
///
/// # Errors
/// Why that cannot be done: no permission, a full disk, a read-only file system.
pub(crate) fn try_writing(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".try-{}", std::process::id()));
    let mut file = private_file().write(true).create_new(true).open(&path)?;
    let written = file.write_all(b"x").and_then(|()| file.sync_all());
    drop(file);
    std::fs::remove_file(&path).and(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_is_tried_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        try_writing(folder.path()).expect("it may be written to");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
        assert!(try_writing(&folder.path().join("missing")).is_err());
    }
}
