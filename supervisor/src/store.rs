//! `state.db`: the installed plugins with their approved manifests, the operator's limits and lists of peers, which
//! plugins are enabled, and the operator's names of peers (`names`). SQLite in WAL mode, flushed at every commit, so that a confirmed change survives a crash. Only
//! the daemon that holds [`crate::home::Home::lock`] opens it.

mod names;

use std::path::{Path, PathBuf};

pub use names::{MAX_PETNAMES, Named};
use polypeer_ipc_protocol::ids::{InvalidId, NodeId, PluginId};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};

/// Version of the schema. A later version of Polypeer migrates it, an earlier one refuses it.
const SCHEMA_VERSION: i64 = 2;
/// "Poly": SQLite's application id, which identifies the file.
const APPLICATION_ID: i64 = 0x506f_6c79;

const SCHEMA: &str = "
CREATE TABLE plugins (
    id        TEXT PRIMARY KEY,
    manifest  TEXT NOT NULL,     -- as the operator approved it
    digest    TEXT NOT NULL,     -- BLAKE3 of the installed folder, hex
    enabled   INTEGER NOT NULL,
    source    TEXT NOT NULL,     -- where it came from
    installed INTEGER NOT NULL   -- seconds since 1970
) STRICT;
CREATE TABLE limits (
    plugin TEXT NOT NULL REFERENCES plugins(id) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,        -- as the operator typed it
    PRIMARY KEY (plugin, key)
) STRICT;
CREATE TABLE peer_lists (        -- for plugins whose manifest says peers = \"list\"
    plugin TEXT NOT NULL REFERENCES plugins(id) ON DELETE CASCADE,
    node   TEXT NOT NULL,
    PRIMARY KEY (plugin, node)
) STRICT;
CREATE TABLE notes (             -- what was done once, such as installing the bundled apps, and plugins with listed peers only
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
";

/// What version 2 adds.
const SCHEMA_2: &str = "
CREATE TABLE petnames (          -- the operator's names of peers
    node TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
";

/// Most peers on one plugin's list.
pub const MAX_PEER_LIST: usize = 1024;

/// One installed plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub id: PluginId,
    /// Text of the manifest that the operator approved.
    pub manifest: String,
    /// BLAKE3 of the installed folder, hex.
    pub digest: String,
    /// Whether it starts with the daemon.
    pub enabled: bool,
    /// Where it was installed from, for people.
    pub source: String,
}

/// Errors of the store; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not intact.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        path: PathBuf,
        /// The hierarchies of this machine.
        what: String,
    },
    /// Written by a later version.
    #[error("{} was written by a later version of Polypeer (layout {found}; this version supports {SCHEMA_VERSION})", path.display())]
    TooNew {
        path: PathBuf,
        /// Version of its schema.
        found: i64,
    },
    /// No space left for the change.
    #[error("no space left on the disk of {}; nothing was changed", path.display())]
    DiskFull { path: PathBuf },
    /// Any other error.
    #[error("failed to use {}: {source}; nothing was changed", path.display())]
    Other { path: PathBuf, source: rusqlite::Error },
}

impl StoreError {
    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { path, .. } => format!(
                "restore a backup of the file, or move {0} and {0}-wal away and install the plugins again; their data and the node's key are not affected",
                path.display()
            ),
            Self::TooNew { .. } => "run the newer version, or use another --home".into(),
            Self::DiskFull { .. } => "free space on the disk and try again".into(),
            Self::Other { .. } => "check the owner and the permissions of the file, and that its disk works".into(),
        }
    }
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

fn told(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, what: source.to_string() }
        }
        // A write or flush without space left may be reported as a plain input/output error.
        Some(ErrorCode::SystemIoFailure) if no_room(&path) => StoreError::DiskFull { path },
        _ => StoreError::Other { path, source },
    }
}

/// Whether the disk of `path` has less than a page left.
fn no_room(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    crate::files::is_full(folder)
}

impl Store {
    /// Opens the database at `path`; creates it if missing.
    ///
    /// # Errors
    /// When it is damaged, of a later version, or unusable; it is never replaced.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |source| told(path, source);
        make_private(path).map_err(|error| StoreError::Other {
            path: path.into(),
            source: rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
        })?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(in_real_folder(path), flags).map_err(fail)?;
        let mut store = Self { connection, path: path.into() };
        store.prepare()?;
        Ok(store)
    }

    /// Checks whether a database is intact, without changing it; a daemon may be using it.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn check(path: &Path) -> Result<(), StoreError> {
        let fail = |source| told(path, source);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(in_real_folder(path), flags).map_err(fail)?;
        match text_of(&connection, "quick_check").map_err(fail)? {
            sound if sound == "ok" => Ok(()),
            what => Err(StoreError::Damaged { path: path.into(), what }),
        }
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let fail = |source| told(&path, source);
        let number = |connection: &Connection, name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        let connection = &self.connection;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(fail)?;
        let version: i64 = number(connection, "user_version").map_err(fail)?;
        let application: i64 = number(connection, "application_id").map_err(fail)?;
        if version != 0 && application != APPLICATION_ID {
            return Err(StoreError::Damaged { path, what: "it is the database of something else".into() });
        }
        if version > SCHEMA_VERSION {
            return Err(StoreError::TooNew { path, found: version });
        }
        connection.pragma_update(None, "journal_mode", "wal").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "full").map_err(fail)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        let sound: String = text_of(connection, "quick_check").map_err(fail)?;
        if sound != "ok" {
            return Err(StoreError::Damaged { path, what: sound });
        }
        if version < SCHEMA_VERSION {
            self.change(|transaction| {
                for (_, schema) in [(1, SCHEMA), (2, SCHEMA_2)].iter().filter(|(added, _)| *added > version) {
                    transaction.execute_batch(schema)?;
                }
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
            })?;
        }
        self.settle()
    }

    /// Writes the WAL into the database file, so that a copy of that file is complete. Called at the start.
    fn settle(&self) -> Result<(), StoreError> {
        self.read(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// The same at an orderly stop, and removes the WAL: whoever waits for the stop may copy the home at once.
    pub fn finish(&self) -> Result<(), StoreError> {
        self.settle()?;
        self.read(|connection| connection.query_row("PRAGMA journal_mode = delete", [], |_| Ok(())))
    }

    /// Runs `work` as one transaction.
    fn change<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let path = &self.path;
        let fail = |source| told(path, source);
        let transaction = self.connection.transaction().map_err(fail)?;
        let value = change(&transaction).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(value)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        read(&self.connection).map_err(|source| told(&self.path, source))
    }

    /// All installed plugins, in the order of their ids.
    pub fn plugins(&self) -> Result<Vec<Installed>, StoreError> {
        self.read(|connection| {
            let mut rows =
                connection.prepare("SELECT id, manifest, digest, enabled, source FROM plugins ORDER BY id")?;
            rows.query_map([], installed)?.collect()
        })
    }

    /// One installed plugin.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<Installed>, StoreError> {
        self.read(|connection| {
            let query = "SELECT id, manifest, digest, enabled, source FROM plugins WHERE id = ?1";
            connection.query_row(query, [id.as_str()], installed).optional()
        })
    }

    /// Records an installation. The operator's settings for an earlier version of the plugin are kept.
    pub fn install(&mut self, plugin: &Installed) -> Result<(), StoreError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.change(|transaction| {
            transaction.execute(
                "INSERT INTO plugins (id, manifest, digest, enabled, source, installed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET manifest = ?2, digest = ?3, enabled = ?4, source = ?5, installed = ?6",
                params![plugin.id.as_str(), plugin.manifest, plugin.digest, plugin.enabled, plugin.source, now as i64],
            )
        })?;
        Ok(())
    }

    /// Deletes a plugin and the operator's settings for it. Returns whether it existed.
    pub fn remove(&mut self, id: &PluginId) -> Result<bool, StoreError> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM notes WHERE key = ?1", [listed_only(id)])?;
            Ok(transaction.execute("DELETE FROM plugins WHERE id = ?1", [id.as_str()])? > 0)
        })
    }

    /// Sets whether a plugin starts with the daemon. Returns whether it exists.
    pub fn set_enabled(&mut self, id: &PluginId, enabled: bool) -> Result<bool, StoreError> {
        self.change(|transaction| {
            let query = "UPDATE plugins SET enabled = ?2 WHERE id = ?1";
            Ok(transaction.execute(query, params![id.as_str(), enabled])? > 0)
        })
    }

    /// The operator's limits for one plugin, key and value as typed, in the order of the keys.
    pub fn limits(&self, id: &PluginId) -> Result<Vec<(String, String)>, StoreError> {
        self.read(|connection| {
            let mut rows = connection.prepare("SELECT key, value FROM limits WHERE plugin = ?1 ORDER BY key")?;
            rows.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// Sets limits of one plugin, all or none; `None` restores the default.
    pub fn set_limits(&mut self, id: &PluginId, limits: &[(String, Option<String>)]) -> Result<(), StoreError> {
        self.change(|transaction| {
            for (key, value) in limits {
                match value {
                    Some(value) => transaction.execute(
                        "INSERT INTO limits (plugin, key, value) VALUES (?1, ?2, ?3)
                         ON CONFLICT (plugin, key) DO UPDATE SET value = ?3",
                        params![id.as_str(), key, value],
                    )?,
                    None => transaction
                        .execute("DELETE FROM limits WHERE plugin = ?1 AND key = ?2", params![id.as_str(), key])?,
                };
            }
            Ok(())
        })
    }

    /// The operator's list of peers for one plugin.
    pub fn peer_list(&self, id: &PluginId) -> Result<Vec<NodeId>, StoreError> {
        let texts: Vec<String> = self.read(|connection| {
            let mut rows = connection.prepare("SELECT node FROM peer_lists WHERE plugin = ?1 ORDER BY node")?;
            rows.query_map([id.as_str()], |row| row.get(0))?.collect()
        })?;
        texts.iter().map(|text| text.parse().map_err(|_| self.damaged("a node id in a list of peers"))).collect()
    }

    /// Adds peers to and removes peers from the operator's list for one plugin.
    pub fn change_peer_list(&mut self, id: &PluginId, add: &[NodeId], remove: &[NodeId]) -> Result<(), StoreError> {
        self.change(|transaction| {
            for node in add {
                let query = "INSERT OR IGNORE INTO peer_lists (plugin, node) VALUES (?1, ?2)";
                transaction.execute(query, [id.as_str(), &node.to_string()])?;
            }
            for node in remove {
                let query = "DELETE FROM peer_lists WHERE plugin = ?1 AND node = ?2";
                transaction.execute(query, [id.as_str(), &node.to_string()])?;
            }
            Ok(())
        })
    }

    /// Whether the operator allows a plugin listed peers only, although its manifest asks for any.
    pub fn is_listed_only(&self, id: &PluginId) -> Result<bool, StoreError> {
        Ok(self.note(&listed_only(id))?.is_some())
    }

    /// Sets what [`Self::is_listed_only`] says.
    pub fn set_listed_only(&mut self, id: &PluginId, is_listed_only: bool) -> Result<(), StoreError> {
        match is_listed_only {
            true => self.set_note(&listed_only(id), "list"),
            false => self.change(|transaction| {
                transaction.execute("DELETE FROM notes WHERE key = ?1", [listed_only(id)]).map(drop)
            }),
        }
    }

    /// Reads a note.
    pub fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            connection.query_row("SELECT value FROM notes WHERE key = ?1", [key], |row| row.get(0)).optional()
        })
    }

    /// Writes a note: a value under a name.
    pub fn set_note(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.change(|transaction| {
            let query = "INSERT INTO notes (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
            transaction.execute(query, [key, value])
        })?;
        Ok(())
    }

    /// The error for a stored value that violates its own rule.
    pub fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }
}

/// The note that a plugin is allowed listed peers only.
fn listed_only(id: &PluginId) -> String {
    format!("peers {id}")
}

fn text_of(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn installed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Installed> {
    let id: String = row.get(0)?;
    let id = id.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::<InvalidId>::new(error))
    })?;
    Ok(Installed { id, manifest: row.get(1)?, digest: row.get(2)?, enabled: row.get(3)?, source: row.get(4)? })
}

/// The path with links resolved in its folder: a home may be reached by one. SQLite would refuse those, too; the file
/// itself must be none.
fn in_real_folder(path: &Path) -> PathBuf {
    let real = || Some(crate::files::real_path(path.parent()?).ok()?.join(path.file_name()?));
    real().unwrap_or_else(|| path.into())
}

/// Creates the file so that only its owner can read it; SQLite creates its other files with the same permissions.
fn make_private(path: &Path) -> std::io::Result<()> {
    crate::files::private_file().write(true).create(true).truncate(false).open(path).map(drop)
}

#[cfg(test)]
mod tests;
