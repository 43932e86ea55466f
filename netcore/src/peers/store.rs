//! The peer store: remembered, blocked and protected peers on disk, in `peers.db` in the node's folder (SQLite, WAL
//! mode).
//!
//! One thread owns the database; [`Store`] sends it the changes. What is written survives a crash of the process; a
//! power cut may lose the last moments (`synchronous = NORMAL`). A damaged file is set aside and a new one begun. With
//! a file that cannot be used or a full disk the node runs on what it has in memory. Each of these is a warning in the
//! status. Changes that could not be written are retried with every later write, and at the end.

mod file;
#[cfg(test)]
mod tests;
mod unwritten;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use polypeer_engine::peers::book::Entry;
use polypeer_ipc_protocol::ids::NodeId;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use file::{OpenError, apply, into_one_file, open, set_aside};
use unwritten::Unwritten;

/// The name of the store's file.
pub const FILE: &str = "peers.db";
/// Most changes queued for the thread. A disk this far behind is as good as none; further changes are dropped, which is
/// a warning in the status.
const MAX_QUEUED: usize = 1024;

/// Why a change was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// SQLite or the system failed.
    #[error("write the peer store: {reason}")]
    Write { reason: String },
    /// There is no usable file, or the store's thread has ended.
    #[error("write the peer store: it is not in use; see the warnings of `polypeer status`")]
    Unavailable,
}

#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
enum Change {
    Put(NodeId, Entry),
    Remove(NodeId),
    /// No change of its own: retries what failed, and answers.
    Nothing,
    /// The same, and puts all into one file: whoever waits for the end may copy it.
    Finish,
}

impl Change {
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Put(node, _) | Self::Remove(node) => Some(*node),
            Self::Nothing | Self::Finish => None,
        }
    }

    /// Whether the operator has decided something about the peer: it is blocked or protected.
    fn is_of_operator(&self) -> bool {
        matches!(self, Self::Put(_, entry) if entry.blocked || entry.protected)
    }
}

struct Job {
    change: Change,
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// A handle to the store's thread. Its drop waits until all queued changes are written and the thread has ended.
pub struct Store {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    problem: Arc<Mutex<Option<String>>>,
}

/// The result of [`Store::open`].
pub struct Loaded {
    /// The store, which may be unusable.
    pub store: Store,
    /// The stored peers, blocked and protected ones first, then the most valuable and most recent.
    pub peers: Vec<(NodeId, Entry)>,
    /// Warnings for the status.
    pub warnings: Vec<String>,
}

impl Store {
    /// Opens the store in folder `home`. Blocks on the disk.
    pub fn open(home: &Path) -> Loaded {
        let path = home.join(FILE);
        let mut warnings = Vec::new();
        let opened = open(&path).or_else(|error| match error {
            OpenError::Damaged(reason) => {
                let aside = set_aside(&path).map_err(OpenError::Unusable)?;
                warnings.push(format!(
                    "the peer store was damaged ({reason}); it is kept as {}, and a new one without remembered and \
                     blocked peers begins",
                    aside.display()
                ));
                open(&path)
            }
            unusable => Err(unusable),
        });
        let problem = Arc::new(Mutex::new(None));
        match opened {
            Ok((database, peers)) => {
                let (jobs, inbox) = mpsc::channel(MAX_QUEUED);
                let shared = Arc::clone(&problem);
                let thread = std::thread::Builder::new().name("peer-store".into());
                match thread.spawn(move || write_all(&database, inbox, &shared)) {
                    Ok(thread) => {
                        let store = Self { jobs: Some(jobs), thread: Some(thread), problem };
                        return Loaded { store, peers, warnings };
                    }
                    Err(error) => {
                        warnings.push(format!("the peer store has no thread: {error}; peers are forgotten at exit"))
                    }
                }
                Loaded { store: Self { jobs: None, thread: None, problem }, peers, warnings }
            }
            Err(error) => {
                let (OpenError::Damaged(reason) | OpenError::Unusable(reason)) = error;
                warnings.push(format!(
                    "the peer store {} cannot be used: {reason}; remembered and blocked peers are forgotten at exit",
                    path.display()
                ));
                Loaded { store: Self { jobs: None, thread: None, problem }, peers: Vec::new(), warnings }
            }
        }
    }

    /// Queues the entry of a peer to be written.
    pub fn put(&self, node: NodeId, entry: Entry) {
        self.queue(Job { change: Change::Put(node, entry), done: None });
    }

    /// Queues the removal of a peer.
    pub fn remove(&self, node: NodeId) {
        self.queue(Job { change: Change::Remove(node), done: None });
    }

    /// Writes the entry of a peer; returns once it is in the file.
    pub async fn put_now(&self, node: NodeId, entry: Entry) -> Result<(), StoreError> {
        self.wait(Change::Put(node, entry)).await
    }

    /// Removes a peer; returns once it is removed from the file.
    pub async fn remove_now(&self, node: NodeId) -> Result<(), StoreError> {
        self.wait(Change::Remove(node)).await
    }

    /// Queues a retry of what could not be written.
    pub fn retry(&self) {
        if self.problem().is_some() {
            self.queue(Job { change: Change::Nothing, done: None });
        }
    }

    /// Returns once all earlier changes are in the file, or have failed, and nothing lies beside it. For the end.
    pub async fn finish(&self) {
        self.wait(Change::Finish).await.ok();
    }

    /// Why the file lacks changes at present, if it does.
    pub fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    fn queue(&self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        if jobs.try_send(job).is_err() {
            *lock(&self.problem) = Some("the peer store is too slow; changes were dropped".into());
        }
    }

    async fn wait(&self, change: Change) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Unavailable)?;
        jobs.send(Job { change, done: Some(done) }).await.map_err(|_| StoreError::Unavailable)?;
        result.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn lock(problem: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    problem.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(database: &Connection, mut inbox: mpsc::Receiver<Job>, problem: &Mutex<Option<String>>) {
    let mut unwritten = Unwritten::default();
    while let Some(Job { change, done }) = inbox.blocking_recv() {
        let is_end = change == Change::Finish;
        unwritten.forget(&change);
        let before = unwritten.write(|change| apply(database, change));
        let result = apply(database, &change);
        if result.is_err() && !unwritten.keep(change) {
            tracing::warn!("too many changes could not be written to the peer store; one of them is lost");
        }
        if let Err(error) = before.as_ref().and(result.as_ref()) {
            tracing::warn!(%error, "failed to write the peer store");
        }
        // A small change may fit on the disk where an earlier one does not: then there is still a problem.
        let failure = result.as_ref().err().or(before.as_ref().err());
        let lacking = "some changes, perhaps of blocked peers, are not on disk yet, and are retried";
        *lock(problem) = failure.map(|error| format!("failed to write the peer store: {error}; {lacking}"));
        if is_end && let Err(error) = into_one_file(database) {
            tracing::info!("the journal of the peer store stays beside it: {error}");
        }
        if let Some(done) = done {
            done.send(result.map_err(|error| StoreError::Write { reason: error.to_string() })).ok();
        }
    }
    if let Err(error) = unwritten.write(|change| apply(database, change)) {
        tracing::warn!(%error, "failed to write the peer store at exit; some changes are lost");
    }
}
