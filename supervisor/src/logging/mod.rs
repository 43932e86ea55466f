//! The daemon's log: events of `tracing`, its messages to the operator, and the lines of the network core. All go to
//! stderr and, once the home is locked, to `logs/daemon_.log`, which no plugin can be called.
//!
//! Nobody has to read stderr: `stderr` queues its lines for a thread, drops what cannot be written and counts it.
//! `form` is how a line looks on a terminal, in a file, in the journal of systemd, and as JSON. The files are
//! [`crate::process::log`]'s; commands other than the daemon write to stderr directly.

mod form;
mod stderr;

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::LogSettings;
use crate::home::Home;
use crate::log_files::{FILE_SIZE, OLD_FILES};
use crate::process::log::{Logs, Sink};
use form::{Form, Record};
use stderr::{FLUSH_TIME, Stderr};

/// Name of the log file.
pub(crate) const NAME: &str = "daemon_";

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    levels: reload::Handle<Targets, Registry>,
    outlets: Arc<Outlets>,
}

/// Where lines go.
struct Outlets {
    form: RwLock<Form>,
    /// Of the daemon; without it, lines are written to stderr at once.
    queue: Option<Stderr>,
    file: OnceLock<Sink>,
}

/// Begins to log, once per process. Only the daemon's lines are queued and dropped rather than waited for.
pub(crate) fn start(settings: &LogSettings, is_daemon: bool) {
    let queue = is_daemon.then(Stderr::start).transpose().unwrap_or_default();
    let form = RwLock::new(Form::of_stderr(settings.format));
    let outlets = Arc::new(Outlets { form, queue, file: OnceLock::new() });
    let (levels, handle) = reload::Layer::new(settings.daemon_filter());
    let started = LOG.set(Log { levels: handle, outlets: Arc::clone(&outlets) }).is_ok();
    if started {
        let _ = tracing_subscriber::registry().with(levels).with(Lines(outlets)).try_init(); // It is the first.
    }
}

/// Uses other levels and another format from now on.
pub(crate) fn change(settings: &LogSettings) {
    let Some(log) = LOG.get() else { return };
    *log.outlets.form.write().unwrap_or_else(PoisonError::into_inner) = Form::of_stderr(settings.format);
    if let Err(error) = log.levels.reload(settings.daemon_filter()) {
        tracing::error!("failed to change the levels of the log: {error}");
    }
}

/// Logs into a file as well. Only for the daemon that has locked the home.
///
/// # Errors
/// When the thread that writes it cannot be started.
pub(crate) fn to_file(home: &Home) -> io::Result<()> {
    if let Some(log) = LOG.get() {
        let _ = log.outlets.file.set(Logs::start(home.logs(), FILE_SIZE, OLD_FILES)?.sink(NAME));
    }
    Ok(())
}

/// Prints a message for the person who runs this process.
pub(crate) fn announce(level: Level, text: &str) {
    match LOG.get() {
        Some(log) if log.outlets.queue.is_some() => log.outlets.announce(level, text),
        _ => stderr::write(&format!("{text}\n")),
    }
}

/// Number of lines on stderr that nobody could read.
pub(crate) fn unread() -> u64 {
    LOG.get().and_then(|log| log.outlets.queue.as_ref()).map_or(0, Stderr::unread)
}

/// Waits a moment until what was logged is written.
pub(crate) fn flush() {
    let Some(log) = LOG.get() else { return };
    if let Some(file) = log.outlets.file.get().cloned() {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        // On a thread: the disk may hang.
        let flushing = std::thread::Builder::new().spawn(move || {
            file.flush();
            let _ = done.send(());
        });
        if flushing.is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIME);
        }
    }
    if let Some(queue) = &log.outlets.queue {
        queue.flush();
    }
}

impl Outlets {
    fn form(&self) -> Form {
        *self.form.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: String) {
        match &self.queue {
            Some(queue) => queue.line(line),
            None => stderr::write(&line),
        }
    }

    fn record(&self, record: &Record) {
        self.write(record.line(self.form()));
        self.keep(record);
    }

    fn keep(&self, record: &Record) {
        if let Some(file) = self.file.get() {
            file.whole_line(record.line(Form::Text));
        }
    }

    fn announce(&self, level: Level, text: &str) {
        let records = text.lines().map(|line| Record::said(level, line));
        match self.form() {
            Form::Terminal { .. } | Form::Text => {
                self.write(format!("{text}\n"));
                records.for_each(|record| self.keep(&record));
            }
            Form::Journal | Form::Json => records.for_each(|record| self.record(&record)),
        }
    }
}

/// The layer that passes events on.
struct Lines(Arc<Outlets>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        self.0.record(&Record::of(event));
    }
}
