//! What `send` reads: a file, a folder as an archive, or the standard input. Reading notices a file that changes
//! meanwhile, and never waits for a named pipe or a device: they are refused before they are opened.

use std::io::Read;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};

use super::super::file_error;
use super::super::file_link::{ARCHIVE, is_safe_name};
use super::super::files_app::CHUNK;
use super::pack::{Listing, list, pack};
use super::unchanged::{changed, unchanged};
use crate::cli_error::CliError;
use crate::files::{self, FileState};

/// Name of the standard input.
const STDIN_NAME: &str = "stdin";
/// Pieces of an archive that wait to be sent.
const MAX_PIECES: usize = 4;

/// Content to send.
pub(super) struct Source {
    /// The name in the link.
    pub(super) name: String,
    content: Content,
}

enum Content {
    File { path: PathBuf, file: tokio::fs::File, state: FileState, size: u64, left: u64 },
    Folder { bytes: u64, pieces: mpsc::Receiver<Vec<u8>>, packing: Option<JoinHandle<Result<(), CliError>>> },
    Stdin(tokio::io::Stdin),
}

impl Source {
    /// The standard input.
    ///
    /// # Errors
    /// When the name is no file name.
    pub(super) fn stdin(name: Option<&str>) -> Result<Self, CliError> {
        Ok(Self { name: checked(name.unwrap_or(STDIN_NAME))?, content: Content::Stdin(tokio::io::stdin()) })
    }

    /// A file or folder.
    ///
    /// # Errors
    /// When it cannot be read, is neither, or its name is no file name elsewhere.
    pub(super) async fn open(path: &Path, name: Option<&str>) -> Result<Self, CliError> {
        let metadata = path.metadata().map_err(|error| file_error("read", path, &error))?;
        let name = match name {
            Some(name) => checked(name)?,
            None => checked(&own_name(path)?)?,
        };
        match () {
            () if metadata.is_file() => file(path, name),
            () if metadata.is_dir() => folder(path, name).await,
            () => Err(neither(path, files::kind(metadata.file_type()))),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.content, Content::Folder { .. })
    }

    /// The size, if it is known before the end, in bytes.
    pub(super) fn size(&self) -> Option<u64> {
        match &self.content {
            Content::File { size, .. } => Some(*size),
            Content::Folder { .. } | Content::Stdin(_) => None,
        }
    }

    /// A descriptor of the file, if it is one. It is open for reading only: nothing can be written through it, but a
    /// process of the same user id could still reopen the file.
    pub(super) async fn descriptor(&self) -> Option<std::fs::File> {
        match &self.content {
            Content::File { file, .. } => file.try_clone().await.ok()?.try_into_std().ok(),
            Content::Folder { .. } | Content::Stdin(_) => None,
        }
    }

    /// About how many bytes will come, for people.
    pub(super) fn expected(&self) -> Option<u64> {
        match &self.content {
            Content::Folder { bytes, .. } => Some(*bytes),
            _ => self.size(),
        }
    }

    /// The next bytes; `None` at the end of content that did not change while it was read.
    ///
    /// # Errors
    /// When it cannot be read, or has changed.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        match &mut self.content {
            Content::File { path, file, state, left, .. } => {
                let mut bytes = vec![0; CHUNK.min(usize::try_from(*left).unwrap_or(CHUNK))];
                if bytes.is_empty() {
                    return unchanged(path, *state).map(|()| None);
                }
                let read = file.read(&mut bytes).await.map_err(|error| file_error("read", path, &error))?;
                bytes.truncate(read);
                *left -= read as u64;
                if read == 0 { Err(changed(path)) } else { Ok(Some(bytes)) }
            }
            Content::Folder { pieces, packing, .. } => match (pieces.recv().await, packing.take()) {
                (Some(piece), still) => {
                    *packing = still;
                    Ok(Some(piece))
                }
                (None, Some(ended)) => match ended.await {
                    Ok(packed) => packed.map(|()| None),
                    Err(_) => Err(CliError::failed("packing the folder was aborted", "run the same command again")),
                },
                (None, None) => Ok(None),
            },
            Content::Stdin(stdin) => {
                let mut bytes = vec![0; CHUNK];
                let read = stdin.read(&mut bytes).await;
                let read = read.map_err(|error| file_error("read", Path::new("the standard input"), &error))?;
                bytes.truncate(read);
                Ok((read > 0).then_some(bytes))
            }
        }
    }
}

fn file(path: &Path, name: String) -> Result<Source, CliError> {
    let told = |error: std::io::Error| file_error("read", path, &error);
    // What the path names may have changed since it was inspected.
    let mut file = files::without_waiting().open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if !metadata.is_file() {
        return Err(neither(path, files::kind(metadata.file_type())));
    }
    let size = metadata.len();
    if size == 0 && block_in_place(|| file.read(&mut [0])).map_err(told)? > 0 {
        let message = format!("{} has no size, but can be read: it is no file on a disk", path.display());
        return Err(CliError::usage(
            message,
            format!("send a copy: `polypeer send - --name {name} < {}`", path.display()),
        ));
    }
    let (path, file) = (path.to_owned(), tokio::fs::File::from_std(file));
    Ok(Source { name, content: Content::File { path, file, state: files::state(&metadata), size, left: size } })
}

async fn folder(path: &Path, name: String) -> Result<Source, CliError> {
    let root = path.to_owned();
    let aborted = |_| CliError::failed("listing the folder was aborted", "run the same command again");
    let listing: Listing = spawn_blocking(move || list(&root)).await.map_err(aborted)??;
    let (sender, pieces) = mpsc::channel(MAX_PIECES);
    let (bytes, top) = (listing.bytes, name.clone());
    let packing = Some(spawn_blocking(move || pack(&listing, &top, sender)));
    let name = checked(&format!("{name}{ARCHIVE}"))?;
    Ok(Source { name, content: Content::Folder { bytes, pieces, packing } })
}

/// The last name of a path, of `.` and `..` as well.
fn own_name(path: &Path) -> Result<String, CliError> {
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => path.canonicalize().ok().and_then(|path| path.file_name().map(ToOwned::to_owned)),
    };
    name.and_then(|name| name.into_string().ok()).ok_or_else(|| {
        CliError::usage(format!("{} has no name that is UTF-8", path.display()), "give it one with --name NAME")
    })
}

fn checked(name: &str) -> Result<String, CliError> {
    if is_safe_name(name) {
        return Ok(name.to_owned());
    }
    let message = format!("{name:?} is no plain file name");
    Err(CliError::usage(message, "give another one with --name NAME, without / \\ and control characters"))
}

fn neither(path: &Path, kind: &str) -> CliError {
    let message = format!("{} is neither a file nor a folder but {kind}", path.display());
    CliError::usage(message, "to send what can be read from it: `polypeer send - --name NAME < PATH`")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cli_error::Exit;

    async fn read(mut source: Source) -> Result<Vec<u8>, CliError> {
        let mut all = Vec::new();
        while let Some(bytes) = source.next().await? {
            all.extend(bytes);
        }
        Ok(all)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn file_is_read_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        for size in [0, 1, CHUNK, 3 * CHUNK + 7] {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &content).expect("written");
            let source = Source::open(&path, None).await.expect("opened");
            assert_eq!((source.name.as_str(), source.size()), ("a", Some(size as u64)));
            assert!(read(source).await.is_ok_and(|read| read == content), "{size}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn file_that_changes_while_it_is_read_is_noticed() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |path| drop(std::fs::OpenOptions::new().append(true).open(path).map(|mut file| file.write_all(b"more"))),
            |path| drop(std::fs::OpenOptions::new().write(true).open(path).map(|file| file.set_len(3))),
            |path| {
                drop(
                    std::fs::write(path.with_extension("new"), vec![1; 2 * CHUNK])
                        .map(|()| std::fs::rename(path.with_extension("new"), path)),
                )
            },
            |path| drop(std::fs::remove_file(path)),
        ];
        for change in changes {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("a");
            std::fs::write(&path, vec![0; 2 * CHUNK]).expect("written");
            let mut source = Source::open(&path, None).await.expect("opened");
            source.next().await.expect("read").expect("some");
            change(&path);
            let error = read(source).await.expect_err("it changed");
            assert!(error.exit == Exit::Failed && error.message.contains("changed while it was read"), "{error:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_no_file_on_a_disk_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        for (path, words) in [
            (pipe.as_path(), "a named pipe"),
            (&socket, "a socket"),
            (Path::new("/dev/zero"), "a device"),
            (Path::new("/proc/cpuinfo"), "no file on a disk"),
        ] {
            let error = Source::open(path, None).await.err().expect("refused");
            assert!(error.exit == Exit::Usage && error.message.contains(words), "{error:?}");
            assert!(error.hint.contains("polypeer send -"), "{error:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn name_is_that_of_the_file_or_the_one_given() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sub = folder.path().join("photos");
        std::fs::create_dir(&sub).expect("a folder");
        let name = async |path: &Path, name| Source::open(path, name).await.map(|source| source.name);
        assert_eq!(name(&sub, None).await, Ok("photos.tar".into()));
        assert_eq!(name(&sub.join("."), Some("x")).await, Ok("x.tar".into()));
        assert_eq!(name(&sub.join("x/../../photos"), None).await.map_err(|error| error.exit), Err(Exit::Usage));
        std::fs::create_dir(sub.join("x")).expect("a folder");
        assert_eq!(name(&sub.join("x/.."), None).await, Ok("photos.tar".into()));
        assert_eq!(name(&sub, Some("a/b")).await.map_err(|error| error.exit), Err(Exit::Usage));
        assert_eq!(Source::stdin(None).map(|source| source.name), Ok("stdin".into()));
    }
}
