//! The database file: its tables, how it is read and written, and how a damaged one is set aside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use polypeer_engine::peers::book::{Entry, Known, MAX_ADDRESSES, MAX_NODES};
use polypeer_engine::peers::score::Standing;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use rusqlite::{Connection, ErrorCode, params};

use super::{Change, FILE};
use crate::identity::make_private;

/// Most damaged files kept; a further one replaces the newest.
const MAX_SET_ASIDE: usize = 9;
/// The version of the tables. An older netcore does not use a file with a newer one.
const VERSION: i64 = STEPS.len() as i64;

/// The SQL that makes each version out of the one before; an empty file has version 0.
pub(super) const STEPS: [&str; 3] = [
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

pub(super) fn apply(database: &Connection, change: &Change) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    match change {
        Change::Nothing | Change::Finish => {}
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
            // The limit of the book holds for the file, too. The least valuable peers go first, and of equals the one
            // seen least recently; blocked and protected peers stay.
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

/// Puts all into the one file, unless something else has it open. A later change is still written.
pub(super) fn into_one_file(database: &Connection) -> rusqlite::Result<()> {
    database.query_row("PRAGMA journal_mode = delete", [], |_| Ok(()))
}

pub(super) enum OpenError {
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

pub(super) fn open(path: &Path) -> Result<(Connection, Vec<(NodeId, Entry)>), OpenError> {
    // SQLite gives its side files the permissions of this one.
    make_private(path).map_err(|error| OpenError::Unusable(error.to_string()))?;
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
    // A step and its version number are written in one transaction: a crash in between leaves the older version.
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
            // Skipped: written by a person, or by a version with more kinds of addresses.
            let Ok(address) = text.parse::<SocketAddr>() else { continue };
            let worked = worked.map(|worked| worked.max(0) as u64);
            entry.addresses.push(Known { address, source: Source::Remembered, worked });
        }
        peers.push((NodeId(node), entry));
    }
    Ok(peers)
}

/// The standing in columns 4 to 7.
fn standing(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    let seconds = |column| row.get::<_, i64>(column).map(|seconds| seconds.max(0) as u64);
    let bans = u32::try_from(row.get::<_, i64>(6)?).unwrap_or(0);
    // A person may have edited the file: `restore` brings values into range.
    Ok(Standing::restore(row.get::<_, Option<f64>>(4)?.unwrap_or(0.0), seconds(5)?, bans, seconds(7)?))
}

/// Renames the damaged file and removes its side files; returns its new name.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, String> {
    let named = |number: usize| path.with_file_name(format!("{FILE}.damaged-{number}"));
    let number = (1..=MAX_SET_ASIDE).find(|number| !named(*number).exists()).unwrap_or(MAX_SET_ASIDE);
    let aside = named(number);
    std::fs::rename(path, &aside).map_err(|error| format!("it is damaged and cannot be set aside: {error}"))?;
    for suffix in ["-wal", "-shm"] {
        let companion = path.with_file_name(format!("{FILE}{suffix}"));
        // Often there is none. One that remained would be applied to the new file.
        match std::fs::remove_file(&companion) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("it is damaged and {} cannot be removed: {error}", companion.display()));
            }
            _ => {}
        }
    }
    Ok(aside)
}
