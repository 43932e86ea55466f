//! Stderr of the daemon. Its reader may be gone (a closed terminal, `run 2>&1 | head`) or stuck, and neither may stop
//! the daemon: a thread writes what is queued, and what cannot be written is dropped and counted.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

#[cfg(unix)]
pub(super) use unix::is_journal;
#[cfg(windows)]
pub(super) use windows::is_journal;

/// Most lines in the queue.
const WAITING: usize = 1024;
/// How long the end of the process waits for its last lines.
pub(super) const FLUSH_TIME: Duration = Duration::from_secs(1);

enum Work {
    Line(String),
    Flush(SyncSender<()>),
}

/// The queue to the thread.
pub(super) struct Stderr {
    work: SyncSender<Work>,
    unread: Arc<AtomicU64>,
}

impl Stderr {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        Self::over(io::stderr())
    }

    fn over(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (work, waiting) = sync_channel(WAITING);
        let unread = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&unread);
        std::thread::Builder::new().name("stderr".to_owned()).spawn(move || write_all(output, &waiting, &count))?;
        Ok(Self { work, unread })
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn line(&self, line: String) {
        if self.work.try_send(Work::Line(line)).is_err() {
            self.unread.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Number of lines dropped so far.
    pub(super) fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Waits until earlier lines are written, or [`FLUSH_TIME`] is over.
    pub(super) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.work.try_send(Work::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIME);
        }
    }
}

fn write_all(mut output: impl Write, waiting: &Receiver<Work>, unread: &AtomicU64) {
    let mut told = 0;
    while let Ok(work) = waiting.recv() {
        match work {
            Work::Line(line) => {
                let dropped = unread.load(Ordering::Relaxed);
                let remark = match dropped - told {
                    0 => String::new(),
                    some => format!("[{some} lines dropped: nobody read them; see polypeer logs]\n"),
                };
                match output.write_all(format!("{remark}{line}").as_bytes()).and_then(|()| output.flush()) {
                    Ok(()) => told = dropped,
                    Err(_) => {
                        unread.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            Work::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Writes to stderr at once; an error is ignored, as there is nowhere to report it.
pub(super) fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes what is written while it is open, and fails while it is closed.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<(bool, String)>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().expect("not poisoned");
            if state.0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            state.1.push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_without_a_reader_are_dropped_counted_and_told_to_the_next_reader() {
        let pipe = Pipe::default();
        let stderr = Stderr::over(pipe.clone()).expect("a thread");
        let line = |text: &str| {
            stderr.line(format!("{text}\n"));
            stderr.flush();
        };
        let set_closed = |closed| pipe.0.lock().expect("not poisoned").0 = closed;
        line("one");
        set_closed(true);
        line("two");
        line("three");
        set_closed(false);
        line("four");
        assert_eq!(stderr.unread(), 2);
        let text = pipe.0.lock().expect("not poisoned").1.clone();
        assert_eq!(text, "one\n[2 lines dropped: nobody read them; see polypeer logs]\nfour\n");
    }

    #[test]
    fn stuck_reader_blocks_nobody() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (_reader, stuck) = sync_channel(0);
        let stderr = Stderr::over(Stuck(stuck)).expect("a thread");
        for number in 0..3 * WAITING {
            stderr.line(format!("{number}\n"));
        }
        assert!(stderr.unread() >= WAITING as u64, "{}", stderr.unread());
    }
}
