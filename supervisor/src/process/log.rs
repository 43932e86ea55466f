//! Log files of children. One thread writes all of them, so that a slow or full disk delays neither a plugin nor the
//! supervisor; dropped lines are counted and reported. Lines come from [`super::capture`].

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::Level;

use crate::files;

/// Origin of the supervisor's own lines.
pub(crate) const OWN: &str = "polypeer";
/// Target of the events that the network core's lines become.
pub(crate) const CORE: &str = "netcore";
/// Field of such an event that names the module.
pub(crate) const MODULE: &str = "module";
/// Most lines in the queue to the disk.
const WAITING: usize = 4096;
/// Size at which a file is rotated, bytes.
pub(crate) const FILE_SIZE: u64 = 4 << 20;
/// Rotated files kept; `ID.log.1` is the newest.
pub(crate) const OLD_FILES: usize = 3;
/// Latest lines kept in memory per child, to explain its end.
const TAIL: usize = 8;

enum Work {
    Line { name: Arc<str>, line: String },
    Delete { name: Arc<str>, done: SyncSender<()> },
    Flush(SyncSender<()>),
}

/// The log folder. Dropping the last handle writes the queue and ends the thread.
#[derive(Clone)]
pub(crate) struct Logs {
    work: SyncSender<Work>,
}

/// Whose lines a log has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A plugin's: its lines are its own, in the file alone.
    Plugin,
    /// The network core's: its lines begin with a level, and are events of the daemon's log as well.
    Core,
}

/// The log of one child. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sink {
    name: Arc<str>,
    kind: Kind,
    logs: Logs,
    lost: Arc<AtomicU64>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({})", self.name)
    }
}

impl Logs {
    /// Starts the thread, with an existing folder.
    pub(crate) fn start(folder: PathBuf, file_size: u64, old_files: usize) -> io::Result<Self> {
        let (work, waiting) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || write_all(&folder, file_size, old_files, &waiting))?;
        Ok(Self { work })
    }

    /// A sink for `NAME.log`.
    pub(crate) fn sink(&self, name: &str) -> Sink {
        self.sink_of(name, Kind::Plugin)
    }

    /// A sink for `NAME.log` with the lines of the network core.
    pub(crate) fn core_sink(&self, name: &str) -> Sink {
        self.sink_of(name, Kind::Core)
    }

    fn sink_of(&self, name: &str, kind: Kind) -> Sink {
        Sink { name: name.into(), kind, logs: self.clone(), lost: Arc::default(), tail: Arc::default() }
    }

    /// Closes and deletes `NAME.log` and its rotated files. Blocks.
    pub(crate) fn delete(&self, name: &str) {
        let (done, wait) = sync_channel(1);
        if self.work.send(Work::Delete { name: name.into(), done }).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Waits until all earlier lines are written. Blocks.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.work.send(Work::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Sink {
    /// Queues one line, or drops and counts it when the queue is full. `from`: `out`, `err`, or [`OWN`].
    pub(crate) fn line(&self, from: &str, text: &str) {
        let (said, shown) = match self.kind {
            Kind::Plugin => (text, format!("{from:>3} | {text}")),
            Kind::Core if from == OWN => (text, format!("{:<5} {text}", Level::INFO)),
            Kind::Core => {
                let line = CoreLine::parse(text);
                line.log();
                (line.message, format!("{:<5} {}", line.level, line.message))
            }
        };
        if from != OWN {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(said.to_owned());
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let remark =
            if lost > 0 { format!("[{lost} lines lost so far: the disk was too slow] ") } else { String::new() };
        self.whole_line(format!("{} {remark}{shown}\n", timestamp(SystemTime::now())));
    }

    /// Queues a line that has its time and its end, or drops and counts it when the queue is full.
    pub(crate) fn whole_line(&self, line: String) {
        if self.logs.work.try_send(Work::Line { name: Arc::clone(&self.name), line }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all earlier lines are written. Blocks.
    pub(crate) fn flush(&self) {
        self.logs.flush();
    }

    /// The latest lines of the child, oldest first.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A line of the network core: `LEVEL MODULE: MESSAGE`. Anything else, such as a panic, is an error.
#[derive(Debug, PartialEq, Eq)]
struct CoreLine<'a> {
    level: Level,
    /// Path of the module below the crate.
    module: &'a str,
    message: &'a str,
}

impl<'a> CoreLine<'a> {
    fn parse(line: &'a str) -> Self {
        let split = line.trim_start().split_once(' ').and_then(|(level, rest)| Some((level.parse().ok()?, rest)));
        let Some((level, rest)) = split else {
            return Self { level: Level::ERROR, module: "", message: line };
        };
        let is_path = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let (module, message) = rest.split_once(": ").filter(|(path, _)| is_path(path)).unwrap_or(("", rest));
        let ours = ["polypeer_netcore", "polypeer_engine"].iter().find_map(|name| module.strip_prefix(name));
        let module = ours.map_or(module, |below| below.trim_start_matches(':'));
        Self { level, module, message }
    }

    fn log(&self) {
        let Self { module, message, .. } = self;
        match self.level {
            Level::ERROR => tracing::error!(target: CORE, module, "{message}"),
            Level::WARN => tracing::warn!(target: CORE, module, "{message}"),
            Level::INFO => tracing::info!(target: CORE, module, "{message}"),
            Level::DEBUG => tracing::debug!(target: CORE, module, "{message}"),
            Level::TRACE => tracing::trace!(target: CORE, module, "{message}"),
        }
    }
}

fn write_all(folder: &Path, file_size: u64, old_files: usize, waiting: &Receiver<Work>) {
    let mut files: HashMap<Arc<str>, Rotating> = HashMap::new();
    while let Ok(work) = waiting.recv() {
        match work {
            Work::Line { name, line } => {
                let path = || folder.join(format!("{name}.log"));
                let file =
                    files.entry(Arc::clone(&name)).or_insert_with(|| Rotating::new(path(), file_size, old_files));
                file.write(&line);
            }
            Work::Delete { name, done } => {
                files.remove(&name);
                for path in files_of(folder, &name) {
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::warn!(path = %path.display(), "failed to delete a log: {error}");
                    }
                }
                let _ = done.send(());
            }
            Work::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// The existing files of a log: `NAME.log`, then the rotated ones.
pub(crate) fn files_of(folder: &Path, name: &str) -> Vec<PathBuf> {
    let first = folder.join(format!("{name}.log"));
    let rotated = (1..=OLD_FILES).map(|number| PathBuf::from(format!("{}.{number}", first.display())));
    std::iter::once(first.clone()).chain(rotated).filter(|path| path.exists()).collect()
}

/// A file that is rotated at a size.
struct Rotating {
    path: PathBuf,
    limit: u64,
    keep: usize,
    open: Option<(File, u64)>,
    /// Lines dropped since the last one written, and the error.
    failed: u64,
    why: String,
}

impl Rotating {
    fn new(path: PathBuf, limit: u64, keep: usize) -> Self {
        Self { path, limit, keep, open: None, failed: 0, why: String::new() }
    }

    /// Writes a line, or counts it as dropped.
    fn write(&mut self, line: &str) {
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
        let aside = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.keep).rev() {
            if aside(number).exists() {
                fs::rename(aside(number), aside(number + 1))?;
            }
        }
        if self.keep == 0 { fs::remove_file(&self.path) } else { fs::rename(&self.path, aside(1)) }
    }
}

/// `2026-11-22T16:20:00.123Z` (RFC 3339). The date from the day count after Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn files_are_put_aside_at_their_size_and_the_oldest_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = Logs::start(folder.path().to_owned(), 200, 2).expect("a thread");
        let sink = logs.sink("chat");
        for number in 0..40 {
            sink.line("out", &format!("line {number:03} with some text"));
        }
        logs.flush();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .expect("readable")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["chat.log", "chat.log.1", "chat.log.2"]);
        for name in &names {
            assert!(fs::metadata(folder.path().join(name)).expect("there").len() <= 200, "{name}");
        }
        let newest = fs::read_to_string(folder.path().join("chat.log")).expect("readable");
        assert!(newest.ends_with("out | line 039 with some text\n"), "{newest}");
        assert_eq!(sink.tail().last().map(String::as_str), Some("line 039 with some text"));
        logs.delete("chat");
        assert!(files_of(folder.path(), "chat").is_empty());
        sink.line("out", "again");
        logs.flush();
        assert_eq!(files_of(folder.path(), "chat"), [folder.path().join("chat.log")], "it begins anew");
    }

    #[test]
    fn level_and_module_of_the_network_core_are_told_from_its_message() {
        let line = |level, module, message| CoreLine { level, module, message };
        for (text, expected) in [
            (" INFO polypeer_netcore::peers: met x: y", line(Level::INFO, "peers", "met x: y")),
            ("DEBUG polypeer_engine::dht::table: full", line(Level::DEBUG, "dht::table", "full")),
            (" WARN drive{id=1}: quinn: odd", line(Level::WARN, "", "drive{id=1}: quinn: odd")),
            (" WARN quinn_proto: odd", line(Level::WARN, "quinn_proto", "odd")),
            ("thread 'main' panicked at x", line(Level::ERROR, "", "thread 'main' panicked at x")),
        ] {
            assert_eq!(CoreLine::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_of_the_network_core_have_one_time_and_their_level() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = Logs::start(folder.path().into(), 1 << 20, 1).expect("a thread");
        let sink = logs.core_sink("netcore_");
        sink.line("err", " WARN polypeer_netcore::core: odd");
        sink.line(OWN, "started, pid 7");
        logs.flush();
        let text = fs::read_to_string(folder.path().join("netcore_.log")).expect("readable");
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').expect("a time").1).collect();
        assert_eq!(lines, ["WARN  odd", "INFO  started, pid 7"]);
    }

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

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_795_363_200), "2026-11-22T16:00:00.000Z");
    }
}
