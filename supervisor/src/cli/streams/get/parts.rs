//! What has arrived of a download: `NAME.part`, a folder beside the file to be. In it are the content under its hash,
//! so that two links never share it, and a lock, so that one `get` at a time writes to a name. The content gets the
//! wanted name when it is complete and verified. What is interrupted stays, and the next `get` of the link goes on
//! there.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::super::file_error;
use crate::cli_error::{CliError, Exit};
use crate::files;

/// The lock's name.
const LOCK: &str = "get.lock";
/// Attempts to lock a folder that other downloads remove meanwhile.
const ATTEMPTS: usize = 100;

/// The parts of one download, locked.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    output: PathBuf,
    hash: String,
    _lock: File,
}

impl Parts {
    /// Locks the parts for `output`, and makes their folder if need be.
    ///
    /// # Errors
    /// `Refused` when another `get` writes to `output`, something else has the folder's name, or other users may write
    /// to a folder that was there before.
    pub(super) fn lock(output: &Path, hash: &str) -> Result<Self, CliError> {
        let mut folder = output.as_os_str().to_owned();
        folder.push(".part");
        let folder = PathBuf::from(folder);
        let told = |error: io::Error| file_error("write", &folder, &error);
        for _ in 0..ATTEMPTS {
            let is_new = match files::create_one_private_folder(&folder) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => return Err(told(error)),
            };
            match folder.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() && (is_new || is_ours_alone(&metadata)) => {}
                Ok(metadata) if metadata.is_dir() => return Err(open_to_others(&folder)),
                Ok(_) => return Err(in_the_way(&folder)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(told(error)),
            }
            let path = folder.join(LOCK);
            let lock = match files::without_following().write(true).create(true).truncate(false).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // Removed since.
                lock => lock.map_err(told)?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(output)),
                Err(TryLockError::Error(error)) => return Err(file_error("lock", &path, &error)),
            }
            if lock.try_clone().and_then(Handle::from_file).map_err(told)? == Handle::from_path(&path).map_err(told)? {
                return Ok(Self { folder, output: output.into(), hash: hash.into(), _lock: lock });
            }
        }
        Err(in_use(output))
    }

    /// The folder, to be named to people.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of the content.
    pub(super) fn content(&self) -> PathBuf {
        self.folder.join(&self.hash)
    }

    /// The path of the folder that the content is unpacked to.
    pub(super) fn unpacked(&self) -> PathBuf {
        self.folder.join(format!("{}.unpacked", self.hash))
    }

    /// The path of a clone in the making.
    pub(super) fn new_clone(&self) -> PathBuf {
        self.folder.join(format!("{}.clone", self.hash))
    }

    /// Opens the content to append to. One with another name as well is not appended to: it is a file of the user's.
    pub(super) fn open(&self) -> Result<File, CliError> {
        let path = self.content();
        let told = |error: io::Error| file_error("write", &path, &error);
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file() || files::has_other_names(&metadata)) {
            std::fs::remove_file(&path).map_err(told)?;
        }
        files::without_following().append(true).read(true).create(true).open(&path).map_err(told)
    }

    /// Deletes the content.
    pub(super) fn discard(&self) -> Result<(), CliError> {
        let path = self.content();
        std::fs::remove_file(&path).map_err(|error| file_error("remove", &path, &error))
    }

    /// Gives `finished`, the content or the unpacked folder, the wanted name, and removes the parts. Without `force`
    /// nothing is replaced that has this name by now.
    pub(super) fn put(self, finished: &Path, force: bool) -> Result<(), CliError> {
        let put = if force { std::fs::rename } else { files::rename_new };
        put(finished, &self.output).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.output),
            _ => file_error("write", &self.output, &error),
        })?;
        let parent = self.output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = files::sync_folder(parent); // Not every file system can.
        if finished != self.content() {
            self.discard()?;
        }
        let _ = std::fs::remove_file(self.new_clone()); // There is one only if a `get` was killed while it made one.
        self.leave();
        Ok(())
    }

    /// Removes the folder if no content is left in it.
    pub(super) fn leave(self) {
        let is_lock = |entry: io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == LOCK);
        if std::fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.all(is_lock)) {
            // What fails here leaves an empty folder, which the next download of the name uses.
            let _ = std::fs::remove_file(self.folder.join(LOCK));
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// The error for a name that is taken.
pub(super) fn exists(output: &Path) -> CliError {
    let message = format!("{} already exists, and is not what the link names; it was not changed", output.display());
    CliError::new(Exit::Refused, message, "keep both with --output OTHER-NAME, or replace a file with --force")
}

fn in_use(output: &Path) -> CliError {
    let message = format!("another `polypeer get` is writing {}", output.display());
    CliError::new(Exit::Refused, message, "wait for it, or write to another file with --output OTHER-NAME")
}

/// Whether nobody but this user can put anything into a folder.
fn is_ours_alone(folder: &Metadata) -> bool {
    files::is_ours(folder) && !files::others_may_write(folder)
}

fn open_to_others(folder: &Path) -> CliError {
    let message = format!("{} belongs to another user, or others may write to it", folder.display());
    CliError::new(
        Exit::Refused,
        message,
        "remove it or move it away, or write to another file with --output OTHER-NAME",
    )
}

fn in_the_way(folder: &Path) -> CliError {
    let message = format!("{} is not a folder of an unfinished download", folder.display());
    CliError::new(Exit::Refused, message, "move it away, or write to another file with --output OTHER-NAME")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn finished(output: &Path, content: &str) -> Parts {
        let parts = Parts::lock(output, "abc").expect("locked");
        parts.open().expect("opened").write_all(content.as_bytes()).expect("written");
        parts
    }

    #[test]
    fn finished_file_gets_its_name_and_replaces_only_when_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = folder.path().join("a");
        let put = |content: &str, force| {
            let parts = finished(&output, content);
            let content = parts.content();
            parts.put(&content, force)
        };
        put("new", false).expect("in place");
        assert_eq!(std::fs::read(&output).expect("there"), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1, "nothing else is left");
        let refused = put("newer", false).expect_err("the name is taken");
        assert_eq!((refused.exit, std::fs::read(&output).expect("there")), (Exit::Refused, b"new".to_vec()));
        put(" and newest", true).expect("replaced");
        assert_eq!(std::fs::read(&output).expect("there"), b"newer and newest", "what had arrived was kept");
    }

    #[test]
    fn name_wanted_twice_at_once_goes_to_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = folder.path().join("a");
        let parts = Parts::lock(&output, "abc").expect("locked");
        let refused = Parts::lock(&output, "def").expect_err("locked by the first");
        assert!(refused.exit == Exit::Refused && refused.message.contains("another"), "{refused:?}");
        parts.leave();
        Parts::lock(&output, "def").expect("free again").leave();
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (output, in_the_way) = (folder.path().join("a"), folder.path().join("a.part"));
        std::fs::write(&in_the_way, "a browser's").expect("written");
        assert_eq!(Parts::lock(&output, "abc").expect_err("no folder").exit, Exit::Refused);
        assert_eq!(std::fs::read(&in_the_way).expect("there"), b"a browser's");
        std::fs::remove_file(&in_the_way).expect("removed");
        let parts = finished(&output, "half");
        std::fs::write(in_the_way.join("notes"), "mine").expect("written");
        let content = parts.content();
        parts.put(&content, false).expect("in place");
        assert_eq!(std::fs::read(in_the_way.join("notes")).expect("there"), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn folder_that_others_may_have_prepared_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let (output, parts) = (folder.path().join("a"), folder.path().join("a.part"));
        let mode = |mode| std::fs::set_permissions(&parts, std::fs::Permissions::from_mode(mode)).expect("changed");
        Parts::lock(&output, "abc").expect("locked");
        assert_eq!(parts.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        for open in [0o777, 0o770, 0o702] {
            mode(open);
            assert_eq!(Parts::lock(&output, "abc").expect_err("others may write").exit, Exit::Refused, "{open:o}");
        }
        mode(0o755);
        Parts::lock(&output, "abc").expect("others may only read").leave();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("a folder");
        std::os::unix::fs::symlink(&elsewhere, &parts).expect("a link");
        assert_eq!(Parts::lock(&output, "abc").expect_err("a link").exit, Exit::Refused);
        assert_eq!(std::fs::read_dir(&elsewhere).expect("read").count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn lock_that_is_a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (output, target) = (folder.path().join("a"), folder.path().join("target"));
        let parts = folder.path().join("a.part");
        files::create_one_private_folder(&parts).expect("a folder");
        std::os::unix::fs::symlink(&target, parts.join(LOCK)).expect("a link");
        assert!(Parts::lock(&output, "abc").is_err() && !target.exists());
    }

    #[cfg(unix)]
    #[test]
    fn content_that_has_another_name_too_is_not_written_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = folder.path().join("a");
        let parts = finished(&output, "whole");
        std::fs::hard_link(parts.content(), &output).expect("linked");
        parts.open().expect("opened").write_all(b"other").expect("written");
        assert_eq!(std::fs::read(&output).expect("there"), b"whole");
    }
}
