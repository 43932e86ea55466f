//! Access to the kernel's control files, with errors that name the file and the value.

use std::fs;
use std::path::{Path, PathBuf};

use super::CgroupError;

/// Creates a folder unless it exists.
pub(super) fn make_folder(path: &Path) -> Result<PathBuf, CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(CgroupError::Io { action: "make".to_owned(), path: path.to_owned(), source })
        }
        _ => Ok(path.to_owned()),
    }
}

/// Reads a file, without surrounding white space.
pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| CgroupError::Io {
        action: "read".to_owned(),
        path: path.to_owned(),
        source,
    })
}

/// Writes a value in one system call, as these files require.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(|source| CgroupError::Io {
        action: format!("write {value} to"),
        path: path.to_owned(),
        source,
    })
}

/// Writes a value, reads it back, and fails unless `same` accepts it.
pub(super) fn write_checked(path: &Path, value: &str, same: impl Fn(&str) -> bool) -> Result<(), CgroupError> {
    write(path, value)?;
    let read = read(path)?;
    if same(&read) {
        return Ok(());
    }
    Err(CgroupError::ReadBack { path: path.to_owned(), wrote: value.to_owned(), read })
}

/// Writes a number of bytes; the kernel may round it down to whole pages of up to 64 KiB.
pub(super) fn write_bytes(path: &Path, bytes: u64) -> Result<(), CgroupError> {
    write_checked(path, &bytes.to_string(), |read| {
        read.parse::<u64>().is_ok_and(|read| read <= bytes && bytes - read < 65_536)
    })
}

/// Writes a value that must read back unchanged.
pub(super) fn write_exact(path: &Path, value: &str) -> Result<(), CgroupError> {
    write_checked(path, value, |read| read == value)
}

/// Reads the value of `key` from a file of lines `key value`.
pub(super) fn read_key(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Reads a file that holds one number.
pub(super) fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_that_does_not_come_back_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("memory.max");
        write_bytes(&path, 1 << 20).expect("an ordinary file gives back what it was given");
        let error = write_checked(&path, "5", |read| read == "6").expect_err("must differ");
        assert!(matches!(error, CgroupError::ReadBack { .. }), "{error}");
    }

    #[test]
    fn keyed_values_are_found_by_their_whole_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("memory.events");
        fs::write(&path, "oom 1\noom_kill 2\noom_group_kill 0\n").expect("writable");
        assert_eq!(read_key(&path, "oom_kill"), Some(2));
        assert_eq!(read_key(&path, "oom_"), None);
    }
}
