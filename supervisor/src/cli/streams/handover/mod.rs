//! Passing of descriptors between a command and the app `files`, so that a file system which can share blocks between
//! files does not store a file twice. Descriptors are open for reading only; whoever gets one makes a clone of its own,
//! never a hard link: the file that others fetch is not the file that its owner goes on editing.
//!
//! The app's socket and its messages are described in `contrib/apps/files/internal/handover`. Everything here may fail,
//! on most file systems does, and then the content is streamed.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::files_app::{APP, Answer, request};
use super::{Session, lines};
use crate::cli::Context;

/// How long the app may take to answer; a clone takes a part of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The app's answer with the token for one visit at its socket.
#[derive(Debug, Deserialize)]
pub(super) struct Token {
    handover: String,
}

/// The socket in the app's data folder.
fn socket(context: &Context) -> PathBuf {
    context.home.data(&APP.parse().expect("an id of ours")).join("handover.sock")
}

/// Whether the app passes descriptors.
pub(super) fn is_offered(context: &Context) -> bool {
    socket(context).exists()
}

/// Gives the app a file. Returns whether it has made a clone of it.
pub(super) async fn give(context: &Context, token: &Token, file: File) -> bool {
    matches!(timeout(PATIENCE, system::give(&socket(context), &token.handover, file)).await, Ok(Ok(true)))
}

/// Makes a clone of the content that the app has stored, in place of `path`, by way of the file `new`. Returns whether
/// that was possible; `path` is as before otherwise.
pub(super) async fn clone_stored(
    context: &Context,
    session: &Session,
    hash: &str,
    new: PathBuf,
    path: PathBuf,
) -> bool {
    if !is_offered(context) {
        return false;
    }
    let document = json!({ "op": "lend", "hash": hash });
    let Ok(mut stream) = request(context, session, &document).await else { return false };
    let Ok(Some(Answer::Given(token))) = lines::read::<Answer<Token>>(&mut stream).await else { return false };
    let Ok(Ok(stored)) = timeout(PATIENCE, system::take(&socket(context), &token.handover)).await else { return false };
    matches!(spawn_blocking(move || clone(&stored, &new, &path)).await, Ok(Ok(())))
}

/// Replaces `path` by a clone of `stored`, which is made at `new`.
fn clone(stored: &File, new: &Path, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // One is there only if a `get` was killed while it made it.
    }
    let made = OpenOptions::new().write(true).create_new(true).open(new)?;
    let cloned = reflink_copy::reflink_file(stored, &made).and_then(|()| made.sync_all());
    let done = cloned.and_then(|()| std::fs::rename(new, path));
    if done.is_err() {
        std::fs::remove_file(new)?;
    }
    done
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn clone_that_is_not_possible_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "half").expect("written");
        let nothing = File::open(folder.path()).expect("a folder, which has no blocks to share");
        assert!(clone(&nothing, &folder.path().join("new"), &path).is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"half");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn link_in_the_place_of_the_clone_is_not_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["stored", "mine"] {
            std::fs::write(path(name), name).expect("written");
        }
        std::os::unix::fs::symlink(path("mine"), path("new")).expect("a link");
        let stored = File::open(path("stored")).expect("opened");
        let _ = clone(&stored, &path("new"), &path("a")); // Whether it can be made depends on the file system.
        assert_eq!(std::fs::read(path("mine")).expect("there"), b"mine");
        assert!(path("new").symlink_metadata().is_err());
    }
}
