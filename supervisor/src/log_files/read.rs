//! A log as it is read: the latest lines, across rotated files, and new ones as they are written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use same_file::Handle;

use super::{OLD_FILES, rotated};

/// Bytes per read, and the longest line shown.
const CHUNK: usize = 64 << 10;
/// Interval of looks for new lines.
const LOOK: Duration = Duration::from_millis(200);

/// Reads the latest `count` lines, oldest first. Also returns what reads on after them.
pub(crate) fn latest(path: &Path, count: usize) -> io::Result<(VecDeque<String>, Follower)> {
    let mut follower = Follower { path: path.to_owned(), file: None, rest: Vec::new() };
    let mut lines: VecDeque<String> = follower.new_lines()?.into();
    for number in 1..=OLD_FILES {
        if lines.len() >= count {
            break;
        }
        match std::fs::read(rotated(path, number)) {
            Ok(bytes) => {
                for line in String::from_utf8_lossy(&bytes).lines().rev() {
                    lines.push_front(line.to_owned());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    lines.drain(..lines.len().saturating_sub(count));
    Ok((lines, follower))
}

/// Reads a log on, from a position in it.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The part of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Waits for new lines: one or more, oldest first.
    pub(crate) async fn wait(&mut self) -> io::Result<Vec<String>> {
        loop {
            let lines = self.new_lines()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads the lines written since the last call. A file rotated meanwhile is read to its end first.
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        self.read_on(&mut lines)?;
        let current = match Handle::from_path(&self.path) {
            Ok(current) => current,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(lines),
            Err(error) => return Err(error),
        };
        let ours = self.file.as_ref().map(|file| file.try_clone().and_then(Handle::from_file)).transpose()?;
        if ours != Some(current) {
            self.read_on(&mut lines)?; // What was written between the first read and the look.
            self.file = Some(File::open(&self.path)?);
            self.rest.clear();
            self.read_on(&mut lines)?;
        }
        Ok(lines)
    }

    fn read_on(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.metadata()?.len() < file.stream_position()? {
            file.seek(SeekFrom::Start(0))?; // Somebody emptied it.
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(part);
                if part.ends_with(b"\n") || self.rest.len() > CHUNK {
                    let line = std::mem::take(&mut self.rest);
                    lines.push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    #[test]
    fn latest_lines_are_gathered_over_files_put_aside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.log");
        append(&folder.path().join("chat.log.2"), "1\n2\n");
        append(&folder.path().join("chat.log.1"), "3\n4\n");
        append(&path, "5\n6\n");
        assert_eq!(latest(&path, 3).expect("read").0, ["4", "5", "6"]);
        assert_eq!(latest(&path, 100).expect("read").0, ["1", "2", "3", "4", "5", "6"]);
        assert!(latest(&path, 0).expect("read").0.is_empty());
        assert!(latest(&folder.path().join("none.log"), 5).expect("no log is no error").0.is_empty());
    }

    #[test]
    fn new_lines_come_whole_and_over_a_change_of_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chat.log");
        append(&path, "old\n");
        let (_, mut follower) = latest(&path, 10).expect("read");
        append(&path, "hal");
        assert!(follower.new_lines().expect("read").is_empty());
        append(&path, "f\n");
        assert_eq!(follower.new_lines().expect("read"), ["half"]);
        append(&path, "last\n");
        std::fs::rename(&path, folder.path().join("chat.log.1")).expect("put aside");
        append(&path, "first\n");
        assert_eq!(follower.new_lines().expect("read"), ["last", "first"]);
    }
}
