//! A file of a log as it is written: a full one is put aside, and lines that cannot be written are counted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use super::{rotated, timestamp};
use crate::files;

/// A log file that is rotated at a size.
pub(crate) struct Rotating {
    path: PathBuf,
    limit: u64,
    keep: usize,
    open: Option<(File, u64)>,
    /// Lines dropped since the last one written, and the error.
    failed: u64,
    why: String,
}

impl Rotating {
    pub(crate) fn new(path: PathBuf, limit: u64, keep: usize) -> Self {
        Self { path, limit, keep, open: None, failed: 0, why: String::new() }
    }

    /// Writes a line with its end, or counts it as dropped.
    pub(crate) fn write(&mut self, line: &str) {
        let text = match self.failed {
            0 => line.to_owned(),
            failed => {
                format!("{} [{failed} lines could not be written: {}]\n{line}", timestamp(SystemTime::now()), self.why)
            }
        };
        match self.try_write(text.as_bytes()) {
            Ok(()) => self.failed = 0,
            Err(error) => {
                // The next line opens the file again: the folder may exist again, the disk may have space.
                self.open = None;
                if self.failed == 0 {
                    tracing::warn!(path = %self.path.display(), "failed to write a log: {error}");
                }
                self.failed += 1;
                self.why = error.to_string();
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| *size + bytes.len() as u64 > self.limit) {
            self.open = None;
            self.rotate()?;
        }
        if self.open.is_none() {
            let file = files::private_file().create(true).append(true).open(&self.path)?;
            files::keep_private(&file)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        let (file, size) = self.open.as_mut().expect("opened just above");
        file.write_all(bytes)?;
        *size += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let aside = |number| rotated(&self.path, number);
        for number in (1..self.keep).rev() {
            if aside(number).exists() {
                fs::rename(aside(number), aside(number + 1))?;
            }
        }
        if self.keep == 0 { fs::remove_file(&self.path) } else { fs::rename(&self.path, aside(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn logs_are_private_also_if_they_were_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.log");
        fs::write(&path, "").expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("rights");
        Rotating::new(path.clone(), 1000, 1).write("one\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_later() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inside = folder.path().join("gone");
        let mut file = Rotating::new(inside.join("chat.log"), 1000, 1);
        file.write("one\n");
        file.write("two\n");
        fs::create_dir(&inside).expect("writable");
        file.write("three\n");
        let text = fs::read_to_string(inside.join("chat.log")).expect("readable");
        assert!(text.contains("[2 lines could not be written: No such file"), "{text}");
        assert!(text.ends_with("]\nthree\n"), "{text}");
    }

    #[test]
    fn full_disk_is_counted_and_does_no_harm() {
        let mut file = Rotating::new(PathBuf::from("/dev/full"), u64::MAX, 1);
        file.write("one\n");
        file.write("two\n");
        assert_eq!(file.failed, 2);
    }
}
