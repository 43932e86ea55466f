//! Log files of children. One thread writes all of them, so that a slow or full disk delays neither a plugin nor the
//! supervisor; dropped lines are counted and reported. Lines come from [`super::capture`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::Level;

use crate::config::CORE;
use crate::log_files::{self, Rotating, timestamp};

/// Origin of the supervisor's own lines.
pub(crate) const OWN: &str = "polypeer";
/// Field of an event of the network core that names the module.
pub(crate) const MODULE: &str = "module";
/// Most lines in the queue to the disk.
const WAITING: usize = 4096;
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
                for path in log_files::files_of(folder, &name) {
                    if let Err(error) = std::fs::remove_file(&path) {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log_files::files_of;

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
}
