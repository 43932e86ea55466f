//! Remembered and blocked peers on disk: `peers.db` in the node's folder, SQLite in WAL mode.
//!
//! One thread owns the database; [`Store`] sends it what changed. What was written survives a crash; the last moments
//! before a power cut may be lost, which costs a stale address and no more (`synchronous = NORMAL`). A damaged file is
//! set aside and a fresh one begun; a file that cannot be used, and a disk that is full, leave the node running on what
//! it has in memory. Each of these is a warning in the status. What could not be written is tried again with every later write, and at
//! the end.

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

use file::{OpenError, apply, open, set_aside};
use unwritten::Unwritten;

/// The file's name.
pub const FILE: &str = "peers.db";
/// Changes not yet written; a disk this far behind is as good as none, and the next changes are dropped with a warning.
const MAX_QUEUED: usize = 1024;

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The system or SQLite refused.
    #[error("write the peer store: {reason}")]
    Write {
        /// What it said.
        reason: String,
    },
    /// There is no usable file, or too much is queued.
    #[error("write the peer store: it is not in use; see the warnings of polypeer status")]
    Unavailable,
}

#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
enum Change {
    Put(NodeId, Entry),
    Remove(NodeId),
    /// For the answer, and to try again what failed.
    Nothing,
}

impl Change {
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Put(node, _) | Self::Remove(node) => Some(*node),
            Self::Nothing => None,
        }
    }

    /// Whether it is what the operator said about a peer.
    fn is_of_operator(&self) -> bool {
        matches!(self, Self::Put(_, entry) if entry.blocked || entry.protected)
    }
}

struct Job {
    change: Change,
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// A handle to the thread; when it is dropped, what is queued is written and the thread ends.
pub struct Store {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    problem: Arc<Mutex<Option<String>>>,
}

/// What [`Store::open`] found.
pub struct Loaded {
    /// The store, which may be out of use.
    pub store: Store,
    /// What it held.
    pub peers: Vec<(NodeId, Entry)>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Store {
    /// Opens the store in `home`. Blocks on the disk.
    pub fn open(home: &Path) -> Loaded {
        let path = home.join(FILE);
        let mut warnings = Vec::new();
        let opened = open(&path).or_else(|error| match error {
            OpenError::Damaged(reason) => {
                let aside = set_aside(&path).map_err(OpenError::Unusable)?;
                warnings.push(format!(
                    "the peer store was damaged ({reason}); it is kept as {} and remembered and blocked peers start anew",
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

    /// Writes what is known of a peer some time soon.
    pub fn put(&self, node: NodeId, entry: Entry) {
        self.queue(Job { change: Change::Put(node, entry), done: None });
    }

    /// Removes a peer some time soon.
    pub fn remove(&self, node: NodeId) {
        self.queue(Job { change: Change::Remove(node), done: None });
    }

    /// Writes what is known of a peer; returns once it is in the file.
    pub async fn put_now(&self, node: NodeId, entry: Entry) -> Result<(), StoreError> {
        self.wait(Change::Put(node, entry)).await
    }

    /// Removes a peer; returns once it is gone from the file.
    pub async fn remove_now(&self, node: NodeId) -> Result<(), StoreError> {
        self.wait(Change::Remove(node)).await
    }

    /// Tries again what could not be written, some time soon.
    pub fn retry(&self) {
        if self.problem().is_some() {
            self.queue(Job { change: Change::Nothing, done: None });
        }
    }

    /// Returns once everything put before is in the file, or has failed.
    pub async fn flush(&self) {
        self.wait(Change::Nothing).await.ok();
    }

    /// What is wrong at present: why the file lacks something that was to be written.
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
        unwritten.forget(&change);
        let before = unwritten.write(|change| apply(database, change));
        let result = apply(database, &change);
        if result.is_err() && !unwritten.keep(change) {
            tracing::warn!("the peer store lacks more than is kept for it; what was seen of a peer is lost");
        }
        if let Err(error) = before.as_ref().and(result.as_ref()) {
            tracing::warn!(%error, "the peer store");
        }
        // A small change may fit where what waits does not: then there is still something wrong.
        let failure = result.as_ref().err().or(before.as_ref().err());
        let lacking = "peers as they are now, blocked ones included, are not all on disk, and it is tried again";
        *lock(problem) = failure.map(|error| format!("failed to write the peer store: {error}; {lacking}"));
        if let Some(done) = done {
            done.send(result.map_err(|error| StoreError::Write { reason: error.to_string() })).ok();
        }
    }
    if let Err(error) = unwritten.write(|change| apply(database, change)) {
        tracing::warn!(%error, "the peer store lacks what could not be written");
    }
}
