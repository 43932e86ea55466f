//! Remembered and blocked peers on disk: `peers.db` in the node's folder, SQLite in WAL mode.
//!
//! One thread owns the database; [`Store`] sends it what changed. What was written survives a crash; the last moments
//! before a power cut may be lost, which costs a stale address and no more (`synchronous = NORMAL`). A damaged file is
//! set aside and a fresh one begun; a file that cannot be used, and a disk that is full, leave the node running on what
//! it has in memory. Each of these is a warning in the status. What could not be written is tried again with every later write, and at
//! the end.

mod unwritten;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use polypeer_ipc_protocol::ids::NodeId;
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::{mpsc, oneshot};

use super::book::{Entry, Known, MAX_ADDRESSES, MAX_NODES, Source};
use super::score::Standing;
use unwritten::Unwritten;

/// The file's name.
pub const FILE: &str = "peers.db";
/// Changes not yet written; a disk this far behind is as good as none, and the next changes are dropped with a warning.
const MAX_QUEUED: usize = 1024;
/// Damaged files kept; beyond that the newest one is replaced.
const MAX_SET_ASIDE: usize = 9;
/// Counts up when the tables change; an older netcore refuses a newer file.
const VERSION: i64 = STEPS.len() as i64;

/// What makes each version out of the one before; an empty file is of version 0.
const STEPS: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS peers (
        node    BLOB PRIMARY KEY CHECK (length(node) = 32),
        blocked INTEGER NOT NULL,
        seen    INTEGER                 -- Unix seconds of the last connection
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS addresses (
        node    BLOB NOT NULL REFERENCES peers (node) ON DELETE CASCADE,
        address TEXT NOT NULL,          -- IP:PORT
        worked  INTEGER,                -- Unix seconds of the last connection there
        PRIMARY KEY (node, address)
    ) WITHOUT ROWID;",
    "ALTER TABLE peers ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN score REAL NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN score_at INTEGER NOT NULL DEFAULT 0;    -- Unix seconds the score is of
    ALTER TABLE peers ADD COLUMN bans INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN banned_until INTEGER NOT NULL DEFAULT 0; -- Unix seconds",
    "ALTER TABLE peers ADD COLUMN dialed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;      -- as in the book; the least goes first",
];

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

fn apply(database: &Connection, change: &Change) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    match change {
        Change::Nothing => {}
        Change::Remove(node) => {
            transaction.execute("DELETE FROM peers WHERE node = ?1", params![node.0])?;
        }
        Change::Put(node, entry) => {
            let (score, score_at, bans, banned_until) = entry.standing.parts();
            transaction.execute(
                "INSERT INTO peers (node, blocked, seen, protected, score, score_at, bans, banned_until, dialed, weight)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (node) DO UPDATE SET
                     blocked = ?2, seen = ?3, protected = ?4, score = ?5, score_at = ?6, bans = ?7, banned_until = ?8,
                     dialed = ?9, weight = ?10",
                params![
                    node.0,
                    entry.blocked,
                    entry.seen.map(|seen| seen as i64),
                    entry.protected,
                    score,
                    score_at as i64,
                    bans,
                    banned_until as i64,
                    entry.dialed,
                    entry.weight() as u8
                ],
            )?;
            transaction.execute("DELETE FROM addresses WHERE node = ?1", params![node.0])?;
            for known in &entry.addresses {
                transaction.execute(
                    "INSERT INTO addresses (node, address, worked) VALUES (?1, ?2, ?3)",
                    params![node.0, known.address.to_string(), known.worked.map(|worked| worked as i64)],
                )?;
            }
            // The limit of the book holds for the file too: whoever is worth least goes, and of those who was seen least
            // recently; those the operator has said something about stay.
            transaction.execute(
                "DELETE FROM peers WHERE node IN (
                     SELECT node FROM peers WHERE NOT blocked AND NOT protected ORDER BY weight ASC, seen ASC
                     LIMIT max(0, (SELECT count(*) FROM peers) - ?1))",
                params![MAX_NODES as i64],
            )?;
        }
    }
    transaction.commit()
}

enum OpenError {
    Damaged(String),
    Unusable(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Unusable(error.to_string()),
        }
    }
}

fn open(path: &Path) -> Result<(Connection, Vec<(NodeId, Entry)>), OpenError> {
    let database = Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.pragma_update(None, "foreign_keys", true)?;
    let verdict: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(OpenError::Damaged(verdict));
    }
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(OpenError::Unusable(format!("it is of a later version ({version}); update Polypeer")));
    }
    // A step and its number come together or not at all: a crash in between leaves the older version.
    for (done, step) in (0..).zip(STEPS).skip(version.max(0) as usize) {
        database.execute_batch(&format!("BEGIN;\n{step}\nPRAGMA user_version = {};\nCOMMIT;", done + 1))?;
    }
    let peers = load(&database)?;
    Ok((database, peers))
}

fn load(database: &Connection) -> rusqlite::Result<Vec<(NodeId, Entry)>> {
    let mut peers = Vec::new();
    let mut rows = database.prepare(
        "SELECT node, blocked, seen, protected, score, score_at, bans, banned_until, dialed FROM peers
         ORDER BY blocked OR protected DESC, weight DESC, seen DESC LIMIT ?1",
    )?;
    let mut rows = rows.query(params![MAX_NODES as i64])?;
    let mut addresses =
        database.prepare("SELECT address, worked FROM addresses WHERE node = ?1 ORDER BY worked DESC LIMIT ?2")?;
    while let Some(row) = rows.next()? {
        let node: [u8; 32] = row.get(0)?;
        let seen: Option<i64> = row.get(2)?;
        let mut entry = Entry {
            blocked: row.get(1)?,
            seen: seen.map(|seen| seen.max(0) as u64),
            remembered: seen.is_some(),
            protected: row.get(3)?,
            standing: standing(row)?,
            dialed: row.get(8)?,
            ..Entry::default()
        };
        let mut known = addresses.query(params![node, MAX_ADDRESSES as i64])?;
        while let Some(row) = known.next()? {
            let (text, worked): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
            // Written by a person, or by a version with more kinds of addresses.
            let Ok(address) = text.parse::<SocketAddr>() else { continue };
            let worked = worked.map(|worked| worked.max(0) as u64);
            entry.addresses.push(Known { address, source: Source::Remembered, worked });
        }
        peers.push((NodeId(node), entry));
    }
    Ok(peers)
}

/// Columns 4 to 7.
fn standing(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    let seconds = |column| row.get::<_, i64>(column).map(|seconds| seconds.max(0) as u64);
    let bans = u32::try_from(row.get::<_, i64>(6)?).unwrap_or(0);
    // A person may have written anything.
    Ok(Standing::restore(row.get::<_, Option<f64>>(4)?.unwrap_or(0.0), seconds(5)?, bans, seconds(7)?))
}

/// Renames the file and what belongs to it; returns its new name.
fn set_aside(path: &Path) -> Result<PathBuf, String> {
    let named = |number: usize| path.with_file_name(format!("{FILE}.damaged-{number}"));
    let number = (1..=MAX_SET_ASIDE).find(|number| !named(*number).exists()).unwrap_or(MAX_SET_ASIDE);
    let aside = named(number);
    std::fs::rename(path, &aside).map_err(|error| format!("it is damaged and cannot be set aside: {error}"))?;
    for suffix in ["-wal", "-shm"] {
        let companion = path.with_file_name(format!("{FILE}{suffix}"));
        // Often there is none. One that stayed would be applied to the fresh file.
        match std::fs::remove_file(&companion) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("it is damaged and {} cannot be removed: {error}", companion.display()));
            }
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::peers::score::ScoreEvent;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn entry(seen: u64) -> Entry {
        let address = "192.0.2.1:7470".parse().expect("address");
        let known = Known { address, source: Source::Remembered, worked: Some(seen) };
        Entry { addresses: vec![known], seen: Some(seen), remembered: true, ..Entry::default() }
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_a_restart() {
        let home = tempfile::tempdir().expect("temporary folder");
        let first = Store::open(home.path());
        assert!(first.warnings.is_empty(), "{:?}", first.warnings);
        first.store.put(node(1), entry(10));
        first.store.put_now(node(2), Entry { blocked: true, ..Entry::default() }).await.expect("written");
        first.store.put(node(3), entry(30));
        first.store.remove_now(node(3)).await.expect("removed");
        drop(first);
        let second = Store::open(home.path());
        assert_eq!(second.peers.len(), 2);
        assert!(second.peers[0].1.blocked && !second.peers[0].1.remembered, "what the operator said comes first");
        assert_eq!(second.peers[1], (node(1), entry(10)));
    }

    #[tokio::test]
    async fn a_file_of_the_first_version_is_brought_up_to_date() {
        let home = tempfile::tempdir().expect("temporary folder");
        let old = Connection::open(home.path().join(FILE)).expect("open");
        old.execute_batch(STEPS[0]).expect("the first tables");
        let fill = "PRAGMA user_version = 1;
            INSERT INTO peers (node, blocked, seen) VALUES (randomblob(32), 1, NULL);
            INSERT INTO peers (node, blocked, seen) VALUES (zeroblob(32), 0, 10);
            INSERT INTO addresses VALUES (zeroblob(32), '192.0.2.1:7470', 10);";
        old.execute_batch(fill).expect("filled");
        drop(old);
        for _ in 0..2 {
            let loaded = Store::open(home.path());
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            assert!(loaded.peers[0].1.blocked);
            assert_eq!(loaded.peers[1], (node(0), entry(10)));
        }
    }

    #[tokio::test]
    async fn protection_score_and_ban_are_there_after_a_restart() {
        let home = tempfile::tempdir().expect("temporary folder");
        let first = Store::open(home.path());
        let mut standing = Standing::default();
        while !standing.count(1000, ScoreEvent::Misbehaved) {}
        let known = Entry { protected: true, standing, ..entry(5) };
        first.store.put_now(node(1), known.clone()).await.expect("written");
        drop(first);
        assert_eq!(Store::open(home.path()).peers, [(node(1), known)]);
    }

    #[test]
    fn damaged_file_is_set_aside_each_time_and_never_lost() {
        let home = tempfile::tempdir().expect("temporary folder");
        for number in 1..=2 {
            fs::write(home.path().join(FILE), b"this is not a database, and long enough to be sure of it")
                .expect("write");
            let loaded = Store::open(home.path());
            assert!(loaded.warnings[0].contains("damaged") && loaded.peers.is_empty(), "{:?}", loaded.warnings);
            drop(loaded);
            let aside = home.path().join(format!("{FILE}.damaged-{number}"));
            assert!(fs::read(aside).expect("kept").starts_with(b"this is not"));
        }
    }

    #[tokio::test]
    async fn file_damaged_in_the_middle_is_noticed_at_the_start() {
        let home = tempfile::tempdir().expect("temporary folder");
        let first = Store::open(home.path());
        for number in 0..200 {
            first.store.put_now(node(number), entry(1)).await.expect("written");
        }
        drop(first);
        let path = home.path().join(FILE);
        let mut content = fs::read(&path).expect("read");
        let length = content.len();
        content[4096..length - 4096].fill(0xa5);
        fs::write(&path, content).expect("write");
        let loaded = Store::open(home.path());
        assert!(loaded.warnings.first().is_some_and(|text| text.contains("damaged")), "{:?}", loaded.warnings);
    }

    #[tokio::test]
    async fn folder_that_cannot_be_used_is_a_warning() {
        let loaded = Store::open(Path::new("/proc/nowhere"));
        assert!(loaded.warnings[0].contains("cannot be used"), "{:?}", loaded.warnings);
        loaded.store.put(node(1), entry(1));
        assert_eq!(loaded.store.put_now(node(1), entry(1)).await, Err(StoreError::Unavailable));
    }

    #[tokio::test]
    async fn failing_write_is_a_problem_until_one_succeeds() {
        let home = tempfile::tempdir().expect("temporary folder");
        let loaded = Store::open(home.path());
        let other = Connection::open(home.path().join(FILE)).expect("open");
        other
            .execute_batch("CREATE TRIGGER full BEFORE INSERT ON peers BEGIN SELECT raise(FAIL, 'disk'); END")
            .expect("trigger");
        let failed = loaded.store.put_now(node(1), entry(1)).await;
        assert!(matches!(failed, Err(StoreError::Write { .. })), "{failed:?}");
        assert!(loaded.store.problem().is_some_and(|problem| problem.contains("disk")));
        loaded.store.flush().await;
        assert!(loaded.store.problem().is_some(), "nothing was written since");
        other.execute_batch("DROP TRIGGER full").expect("drop");
        loaded.store.put_now(node(1), entry(1)).await.expect("written");
        assert_eq!(loaded.store.problem(), None);
    }

    #[tokio::test]
    async fn block_that_could_not_be_written_is_written_when_there_is_room_again() {
        let home = tempfile::tempdir().expect("temporary folder");
        let full = "CREATE TRIGGER full BEFORE INSERT ON peers WHEN NEW.blocked BEGIN SELECT raise(FAIL, 'disk'); END";
        let blocked = || Entry { blocked: true, ..Entry::default() };
        let loaded = Store::open(home.path());
        let other = Connection::open(home.path().join(FILE)).expect("open");
        other.execute_batch(full).expect("trigger");
        assert!(loaded.store.put_now(node(1), blocked()).await.is_err());
        loaded.store.put_now(node(2), entry(1)).await.expect("what is smaller fits");
        assert!(loaded.store.problem().is_some_and(|problem| problem.contains("blocked ones")));
        other.execute_batch("DROP TRIGGER full").expect("drop");
        loaded.store.retry();
        loaded.store.flush().await;
        assert_eq!(loaded.store.problem(), None);
        other.execute_batch(full).expect("trigger");
        assert!(loaded.store.put_now(node(3), blocked()).await.is_err());
        other.execute_batch("DROP TRIGGER full").expect("drop");
        drop(loaded); // the end is the last chance
        let peers = Store::open(home.path()).peers;
        let is_blocked = |number| peers.iter().any(|(peer, entry)| *peer == node(number) && entry.blocked);
        assert!(is_blocked(1) && is_blocked(3), "{peers:?}");
    }

    #[tokio::test]
    async fn peers_in_the_file_are_bounded_and_blocked_ones_stay() {
        let home = tempfile::tempdir().expect("temporary folder");
        let loaded = Store::open(home.path());
        let database = Connection::open(home.path().join(FILE)).expect("open");
        loaded.store.put_now(node(1), Entry { blocked: true, ..Entry::default() }).await.expect("written");
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                    INSERT INTO peers (node, blocked, seen) SELECT CAST(printf('%032d', i) AS BLOB), 0, i FROM n";
        database.execute_batch(fill).expect("fill");
        loaded.store.put_now(node(2), entry(9999)).await.expect("written");
        let count: i64 = database.query_row("SELECT count(*) FROM peers", [], |row| row.get(0)).expect("count");
        assert_eq!(count, MAX_NODES as i64);
        drop(loaded);
        let nodes: Vec<NodeId> = Store::open(home.path()).peers.into_iter().map(|(node, _)| node).collect();
        assert!(nodes.contains(&node(1)) && nodes.contains(&node(2)));
    }

    #[tokio::test]
    async fn peers_and_bans_stay_in_the_file_though_thousands_come_after_them() {
        let home = tempfile::tempdir().expect("temporary folder");
        let loaded = Store::open(home.path());
        let mut standing = Standing::default();
        while !standing.count(5, ScoreEvent::Misbehaved) {}
        loaded.store.put_now(node(1), Entry { dialed: true, ..entry(1) }).await.expect("written");
        loaded.store.put_now(node(2), Entry { standing, ..entry(2) }).await.expect("written");
        loaded.store.put_now(node(3), Entry { connected: true, ..entry(3) }).await.expect("written");
        let database = Connection::open(home.path().join(FILE)).expect("open");
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                    INSERT INTO peers (node, blocked, seen) SELECT CAST(printf('%032d', i) AS BLOB), 0, 100 + i FROM n";
        database.execute_batch(fill).expect("fill");
        loaded.store.put_now(node(4), entry(9999)).await.expect("written");
        drop(loaded);
        let nodes: Vec<NodeId> = Store::open(home.path()).peers.into_iter().map(|(node, _)| node).collect();
        assert_eq!(nodes.len(), MAX_NODES);
        assert!([1, 2, 3].iter().all(|kept| nodes.contains(&node(*kept))));
    }
}
