//! Packing of a folder into an archive: a tar file with the folder's name as its top folder. Names, contents, times and
//! whether a file is executable are kept; owners and other rights are not.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::super::file_error;
use super::super::file_link::is_plain_name;
use super::super::files_app::CHUNK;
use super::super::folder::{MAX_ENTRIES, stays_inside};
use super::unchanged::{changed, unchanged};
use crate::cli_error::CliError;
use crate::files;

/// What is in a folder.
pub(super) struct Listing {
    root: PathBuf,
    /// Paths below the folder; each folder comes before what is in it.
    entries: Vec<PathBuf>,
    /// Size of all files.
    pub(super) bytes: u64,
}

/// Lists a folder and checks that it can be packed.
///
/// # Errors
/// When something in it is neither file, folder nor a symbolic link that stays inside, has a name that cannot be made
/// elsewhere, or cannot be read; when there is too much.
pub(super) fn list(root: &Path) -> Result<Listing, CliError> {
    let mut listing = Listing { root: root.into(), entries: Vec::new(), bytes: 0 };
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let told = |error: io::Error| file_error("read", &path, &error);
        let mut entries = std::fs::read_dir(&path).map_err(told)?.collect::<Result<Vec<_>, _>>().map_err(told)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let inner = folder.join(entry.file_name());
            listing.add(&entry, inner.clone())?;
            if entry.file_type().map_err(told)?.is_dir() {
                folders.push(inner);
            }
        }
    }
    Ok(listing)
}

impl Listing {
    fn add(&mut self, entry: &std::fs::DirEntry, inner: PathBuf) -> Result<(), CliError> {
        let path = entry.path();
        let refused =
            |what: String| Err(CliError::usage(what, "move it out of the folder, or send the rest file by file"));
        if !entry.file_name().to_str().is_some_and(is_plain_name) {
            return refused(format!("{} has a name that cannot be made everywhere", path.display()));
        }
        let metadata = entry.metadata().map_err(|error| file_error("read", &path, &error))?;
        match metadata.file_type() {
            kind if kind.is_file() => self.bytes += metadata.len(),
            kind if kind.is_dir() => {}
            kind if kind.is_symlink() => {
                let target = std::fs::read_link(&path).map_err(|error| file_error("read", &path, &error))?;
                if !stays_inside(&inner, &target) {
                    let target = target.display();
                    return refused(format!("{} is a link that leads out of the folder, to {target}", path.display()));
                }
            }
            kind => return refused(format!("{} is {}, which cannot be sent", path.display(), files::kind(kind))),
        }
        if self.entries.len() == MAX_ENTRIES {
            return refused(format!("{} has more than {MAX_ENTRIES} files and folders", self.root.display()));
        }
        self.entries.push(inner);
        Ok(())
    }
}

/// Packs what was listed below the folder `top`, and sends the archive in pieces.
///
/// # Errors
/// When something cannot be read or has changed. Nothing more is sent then.
pub(super) fn pack(listing: &Listing, top: &str, pieces: mpsc::Sender<Vec<u8>>) -> Result<(), CliError> {
    let mut builder = Builder::new(BufWriter::with_capacity(CHUNK, Pieces(pieces)));
    builder
        .append_data(&mut header(EntryType::Directory, SystemTime::now(), true), top, io::empty())
        .map_err(unsent)?;
    for inner in &listing.entries {
        append(&mut builder, &listing.root.join(inner), &Path::new(top).join(inner))?;
    }
    builder.into_inner().and_then(|mut writer| writer.flush()).map_err(unsent)
}

/// Appends one file, folder or link.
fn append(builder: &mut Builder<impl Write>, path: &Path, name: &Path) -> Result<(), CliError> {
    let told = |error: io::Error| file_error("read", path, &error);
    let metadata = path.symlink_metadata().map_err(told)?;
    let modified = metadata.modified().map_err(told)?;
    if metadata.is_dir() {
        let mut header = header(EntryType::Directory, modified, true);
        return builder.append_data(&mut header, name, io::empty()).map_err(unsent);
    }
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).map_err(told)?;
        return builder.append_link(&mut header(EntryType::Symlink, modified, false), name, target).map_err(unsent);
    }
    let file = files::without_waiting().open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if !metadata.is_file() {
        return Err(changed(path));
    }
    let mut header = header(EntryType::Regular, modified, files::is_executable(&metadata));
    header.set_size(metadata.len());
    let mut content = Content { file: file.take(metadata.len()), failed: None };
    let appended = builder.append_data(&mut header, name, &mut content);
    if let Some(error) = content.failed {
        return Err(told(error));
    }
    appended.map_err(unsent)?;
    unchanged(path, files::state(&metadata))
}

fn header(kind: EntryType, modified: SystemTime, is_executable: bool) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if is_executable { 0o755 } else { 0o644 });
    header.set_mtime(modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs()));
    header.set_size(0);
    header
}

/// The error of the sending side, which has a better one of its own.
fn unsent(error: io::Error) -> CliError {
    CliError::failed(format!("failed to pack the folder: {error}"), "run the same command again")
}

/// Content of a file; its errors are told from those of the writer.
struct Content<R> {
    file: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

/// The sending side of an archive.
struct Pieces(mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli_error::Exit;

    /// The archive of a folder, and its listing made before `change`.
    fn packed(root: &Path, change: impl FnOnce()) -> Result<Vec<u8>, CliError> {
        let listing = list(root)?;
        change();
        let (sender, mut receiver) = mpsc::channel(1);
        let packing = std::thread::spawn(move || pack(&listing, "top", sender));
        let mut archive = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            archive.extend(piece);
        }
        packing.join().expect("no panic").map(|()| archive)
    }

    #[test]
    fn archive_has_what_is_in_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let long = "n".repeat(200);
        std::fs::create_dir_all(folder.path().join("sub/empty")).expect("folders");
        std::fs::write(folder.path().join("sub").join(&long), "content").expect("written");
        std::fs::write(folder.path().join("a"), "").expect("written");
        let archive = packed(folder.path(), || {}).expect("packed");
        let mut archive = tar::Archive::new(&archive[..]);
        let found: BTreeMap<String, String> = archive
            .entries()
            .expect("an archive")
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let mut content = String::new();
                entry.read_to_string(&mut content).expect("read");
                (entry.path().expect("a path").display().to_string(), content)
            })
            .collect();
        let long = format!("top/sub/{long}");
        let expected = [("top", ""), ("top/a", ""), ("top/sub", ""), ("top/sub/empty", ""), (&long, "content")];
        assert_eq!(found, expected.map(|(name, content)| (name.to_owned(), content.to_owned())).into());
    }

    #[test]
    fn file_that_changes_after_it_was_listed_is_noticed_or_packed_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "content").expect("written");
        assert!(packed(folder.path(), || drop(std::fs::write(&path, "longer content"))).is_ok());
        assert!(packed(folder.path(), || drop(std::fs::remove_file(&path))).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_sent_is_refused_before_anything_is() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;

        type Make = fn(&Path) -> io::Result<()>;
        let makes: [(Make, bool); 5] = [
            (|root| symlink("../out", root.join("l")), false),
            (|root| symlink("/etc/passwd", root.join("l")), false),
            (|root| symlink("a", root.join("l")), true),
            (
                |root| nix::unistd::mkfifo(&root.join("p"), nix::sys::stat::Mode::S_IRWXU).map_err(io::Error::from),
                false,
            ),
            (|root| std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), ""), false),
        ];
        for (make, right) in makes {
            let folder = tempfile::tempdir().expect("a temporary folder");
            make(folder.path()).expect("made");
            match list(folder.path()) {
                Ok(_) => assert!(right),
                Err(error) => assert!(!right && error.exit == Exit::Usage, "{error:?}"),
            }
        }
    }
}
