//! Unpacking of a folder that was sent. The archive comes from a stranger: nothing is made outside of the new folder,
//! nothing in it leads out, and only files, folders and symbolic links are made. Links are made last, so that nothing
//! is written through one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};

use super::super::file_link::is_plain_name;
use super::super::folder::{MAX_ENTRIES, stays_inside};
use crate::files;

/// Errors of unpacking.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("failed to read the archive: {0}")]
    Read(#[source] io::Error),
    #[error("failed to write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the archive has an entry {name:?}, which {problem}")]
    Entry { name: String, problem: &'static str },
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooMany,
}

impl UnpackError {
    /// Whether the archive is wrong, so that another attempt would fail as well.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Entry { .. } | Self::TooMany)
    }
}

/// Unpacks an archive into the new folder `into`, without the archive's own top folder. What an earlier attempt left
/// there is deleted.
///
/// # Errors
/// When the archive cannot be read, has anything but files, folders and links that stay inside, or a name twice.
pub(super) fn unpack(archive: File, into: &Path) -> Result<(), UnpackError> {
    if into.symlink_metadata().is_ok() {
        std::fs::remove_dir_all(into).map_err(written(into))?;
    }
    std::fs::create_dir(into).map_err(written(into))?;
    let mut archive = Archive::new(BufReader::new(archive));
    let mut links = BTreeMap::new();
    for (number, entry) in archive.entries().map_err(UnpackError::Read)?.enumerate() {
        if number == MAX_ENTRIES {
            return Err(UnpackError::TooMany);
        }
        let mut entry = entry.map_err(UnpackError::Read)?;
        let Some(inner) = inner_path(&entry)? else { continue };
        let path = into.join(&inner);
        match entry.header().entry_type() {
            EntryType::Directory => std::fs::create_dir(&path).map_err(written(&path))?,
            EntryType::Regular => write_file(&mut entry, &path)?,
            EntryType::Symlink => {
                let target = link_target(&entry, &inner)?;
                if links.insert(path, target).is_some() {
                    return Err(wrong(&entry, "comes twice"));
                }
            }
            _ => return Err(wrong(&entry, "is neither a file, a folder nor a symbolic link")),
        }
    }
    for (path, target) in &links {
        // A link made through another would lie elsewhere than where its target was judged.
        if path.ancestors().skip(1).any(|above| links.contains_key(above)) {
            let name = path.strip_prefix(into).unwrap_or(path).display().to_string();
            return Err(UnpackError::Entry { name, problem: "lies below a link" });
        }
        files::symlink(target, path).map_err(written(path))?;
    }
    Ok(())
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    move |source| UnpackError::Write { path: path.into(), source }
}

fn wrong(entry: &Entry<'_, impl io::Read>, problem: &'static str) -> UnpackError {
    let name: String = String::from_utf8_lossy(&entry.path_bytes()).chars().take(200).collect();
    UnpackError::Entry { name, problem }
}

/// The path of an entry below the archive's top folder; `None` for that folder itself.
fn inner_path(entry: &Entry<'_, impl io::Read>) -> Result<Option<PathBuf>, UnpackError> {
    let path = entry.path().map_err(|_| wrong(entry, "has no valid name"))?;
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if name.to_str().is_some_and(is_plain_name) => names.push(name),
            _ => return Err(wrong(entry, "is no path inside a folder")),
        }
    }
    let inner: PathBuf = names.iter().skip(1).collect();
    match names.len() {
        0 => Err(wrong(entry, "has no name")),
        1 if entry.header().entry_type() == EntryType::Directory => Ok(None),
        1 => Err(wrong(entry, "is in no folder")),
        _ => Ok(Some(inner)),
    }
}

fn link_target(entry: &Entry<'_, impl io::Read>, inner: &Path) -> Result<PathBuf, UnpackError> {
    let target = entry.link_name().ok().flatten().ok_or_else(|| wrong(entry, "leads nowhere"))?;
    match stays_inside(inner, &target) {
        true => Ok(target.into_owned()),
        false => Err(wrong(entry, "is a link that leads out of the folder")),
    }
}

fn write_file(entry: &mut Entry<'_, impl io::Read>, path: &Path) -> Result<(), UnpackError> {
    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
    let mut file = files::program_file(executable).write(true).create_new(true).open(path).map_err(written(path))?;
    let size = entry.size();
    let copied = io::copy(entry, &mut file).map_err(written(path))?;
    if copied != size {
        return Err(UnpackError::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    let modified = entry.header().mtime().ok().and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    match modified {
        Some(time) => file.set_modified(time).map_err(written(path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use tar::{Builder, Header};

    use super::*;

    /// An archive of entries: type, name as bytes, and content or target of a link.
    fn archive(entries: &[(EntryType, &str, &str)]) -> File {
        let mut builder = Builder::new(tempfile::tempfile().expect("a temporary file"));
        for (kind, name, content) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            // Past the crate's own checks, as a stranger's program does it.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(0o644);
            let content = if *kind == EntryType::Symlink || *kind == EntryType::Link {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
                ""
            } else {
                content
            };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("appended");
        }
        let mut file = builder.into_inner().expect("finished");
        file.rewind().expect("rewound");
        file
    }

    const FOLDER: (EntryType, &str, &str) = (EntryType::Directory, "top", "");

    #[test]
    fn folder_is_made_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let into = folder.path().join("new");
        std::fs::create_dir(&into).expect("what an earlier attempt left");
        std::fs::write(into.join("half"), "").expect("what an earlier attempt left");
        let archive = archive(&[
            FOLDER,
            (EntryType::Directory, "top/sub", ""),
            (EntryType::Symlink, "top/sub/link", "../a"),
            (EntryType::Regular, "top/a", "hello"),
        ]);
        unpack(archive, &into).expect("unpacked");
        assert_eq!(std::fs::read(into.join("sub/link")).expect("the link leads to it"), b"hello");
        assert!(!into.join("half").exists());
    }

    #[test]
    fn nothing_is_made_outside_and_nothing_leads_out() {
        let (file, link, hard) = (EntryType::Regular, EntryType::Symlink, EntryType::Link);
        for entries in [
            &[(file, "top/../../out", "x")][..],
            &[(file, "/out", "x")],
            &[(file, "top/./a", "x"), (file, "../out", "x")],
            &[(file, "out", "x")],
            &[(link, "top/l", "/etc/passwd")],
            &[(link, "top/l", "../out")],
            &[(EntryType::Directory, "top/d", ""), (link, "top/d/l", "../../out")],
            &[(link, "top/l", "d/../../out")],
            &[(link, "top/l", "."), (link, "top/m", "l/..")],
            &[(link, "top/l", "a"), (link, "top/l", "b")],
            &[
                (EntryType::Directory, "top/d", ""),
                (EntryType::Directory, "top/e", ""),
                (link, "top/d/l", "../e"),
                (link, "top/d/l/m", "../../out"),
            ],
            &[(link, "top", "/")],
            &[(hard, "top/h", "/etc/passwd")],
            &[(EntryType::Fifo, "top/p", "")],
            &[(EntryType::Char, "top/c", "")],
            &[(file, "top/a", "x"), (file, "top/a", "y")],
            &[(link, "top/l", "a"), (file, "top/l/b", "x")],
            &[(file, "top/a\nb", "x")],
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            std::fs::create_dir(folder.path().join("in")).expect("a folder");
            let into = folder.path().join("in/new");
            let done = unpack(archive(&[&[FOLDER][..], entries].concat()), &into);
            assert!(done.is_err(), "{entries:?}");
            let outside: Vec<_> = std::fs::read_dir(folder.path()).expect("read").collect();
            assert_eq!(outside.len(), 1, "{entries:?}: {outside:?}");
            assert_eq!(std::fs::read_dir(folder.path().join("in")).expect("read").count(), 1, "{entries:?}");
        }
    }

    #[test]
    fn archive_that_is_cut_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = archive(&[FOLDER, (EntryType::Regular, "top/a", "hello")]);
        file.set_len(512 + 512 + 3).expect("cut");
        file.rewind().expect("rewound");
        assert!(unpack(file, &folder.path().join("new")).is_err());
        let mut none = tempfile::tempfile().expect("a temporary file");
        none.write_all(&[b'x'; 2000]).expect("written");
        none.rewind().expect("rewound");
        assert!(unpack(none, &folder.path().join("other")).is_err());
    }
}
