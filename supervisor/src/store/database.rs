//! The file of the database: opened and checked, brought to the present schema, and closed so that it may be copied.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};

use crate::files::{self, FileState};

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
CREATE TABLE notes (             -- what was done once, such as installing the bundled apps; plugins with listed peers only
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

/// Errors of the store; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not intact.
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
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
    /// The open file no longer has its name: what is written into it is gone at the next start.
    #[error("{} was removed or replaced while the daemon runs; nothing was changed", path.display())]
    Lost { path: PathBuf },
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
            Self::Lost { path } => {
                let name = path.file_name().unwrap_or_default().display();
                format!("stop the daemon with `polypeer shutdown`, put {name} back from a backup, and start it again")
            }
            Self::Other { .. } => "check the owner and the permissions of the file, and that its disk works".into(),
        }
    }
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    files: OpenFiles,
}

/// The files of an open database: the database, and what was committed and is not in it yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OpenFiles(Vec<(PathBuf, FileState)>);

impl OpenFiles {
    /// Those that have their names now.
    fn of(path: &Path) -> Self {
        let paths = [path.into(), with_suffix(path, "-wal")];
        Self(paths.into_iter().filter_map(|path| Some((path.clone(), state_of(&path)?))).collect())
    }

    /// Fails when one was removed or replaced since the database was opened.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub fn check(&self) -> Result<(), StoreError> {
        let is_lost = |(path, was): &&(PathBuf, FileState)| !state_of(path).is_some_and(|now| now.is_of_same_file(was));
        match self.0.iter().find(is_lost) {
            Some((path, _)) => Err(StoreError::Lost { path: path.clone() }),
            None => Ok(()),
        }
    }
}

fn state_of(path: &Path) -> Option<FileState> {
    std::fs::symlink_metadata(path).ok().map(|metadata| files::state(&metadata))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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
    files::is_full(folder)
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
        let mut store = Self { connection, path: path.into(), files: OpenFiles::default() };
        store.prepare()?;
        store.files = OpenFiles::of(path);
        Ok(store)
    }

    /// The files that it has open.
    pub fn files(&self) -> OpenFiles {
        self.files.clone()
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
        self.files.check()?;
        self.settle()?;
        self.read(|connection| connection.query_row("PRAGMA journal_mode = delete", [], |_| Ok(())))
    }

    /// Runs `change` as one transaction.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.files.check()?;
        let path = &self.path;
        let fail = |source| told(path, source);
        let transaction = self.connection.transaction().map_err(fail)?;
        let value = change(&transaction).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(value)
    }

    /// Runs `read` on the database.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        read(&self.connection).map_err(|source| told(&self.path, source))
    }

    /// The error for a stored value that violates its own rule.
    pub fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }
}

fn text_of(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// The path with links resolved in its folder: a home may be reached by one. SQLite would refuse those, too; the file
/// itself must be none.
fn in_real_folder(path: &Path) -> PathBuf {
    let real = || Some(files::real_path(path.parent()?).ok()?.join(path.file_name()?));
    real().unwrap_or_else(|| path.into())
}

/// Creates the file so that only its owner can read it; SQLite creates its other files with the same permissions.
fn make_private(path: &Path) -> std::io::Result<()> {
    files::private_file().write(true).create(true).truncate(false).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::chat;

    #[test]
    fn damaged_and_foreign_files_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        std::fs::write(&path, b"not a database, but long enough to be looked at as one").expect("written");
        let error = Store::open(&path).expect_err("refused");
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.hint().contains("restore a backup"));
        assert!(std::fs::read(&path).expect("still there").starts_with(b"not a database"));
    }

    #[test]
    fn page_overwritten_in_the_middle_is_found_at_opening() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        let mut store = Store::open(&path).expect("a new store");
        for number in 0..200 {
            store.set_note(&format!("note {number}"), &"x".repeat(200)).expect("noted");
        }
        drop(store);
        let mut bytes = std::fs::read(&path).expect("read");
        assert!(bytes.len() > 3 * 4096);
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xa5);
        std::fs::write(&path, &bytes).expect("damaged");
        assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "the file is as it was");
    }

    #[test]
    fn later_layout_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        drop(Store::open(&path).expect("a new store"));
        let connection = Connection::open(&path).expect("opened");
        connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("raised");
        drop(connection);
        let refused = Store::open(&path);
        assert!(matches!(refused, Err(StoreError::TooNew { found, .. }) if found == SCHEMA_VERSION + 1), "{refused:?}");
    }

    #[test]
    fn earlier_layout_is_brought_up_to_date_with_all_that_it_holds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        let connection = Connection::open(&path).expect("created");
        connection.execute_batch(SCHEMA).expect("the first layout");
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("set");
        connection.pragma_update(None, "user_version", 1).expect("set");
        connection.execute("INSERT INTO notes VALUES ('bundled', 'done')", []).expect("a note");
        drop(connection);
        for _ in 0..2 {
            let store = Store::open(&path).expect("the new layout");
            assert_eq!(store.note("bundled").expect("read").as_deref(), Some("done"));
            assert!(store.petnames().expect("read").is_empty());
        }
    }

    #[test]
    fn change_without_room_fails_whole_and_leaves_the_state() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        let mut store = Store::open(&path).expect("a new store");
        store.install(&chat()).expect("installed");
        let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("counted");
        store.connection.pragma_update(None, "max_page_count", pages).expect("limited");
        let error = store.set_note("much", &"x".repeat(100_000)).expect_err("no room");
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert_eq!(store.plugins().expect("read"), [chat()]);
        assert_eq!(store.note("much").expect("read"), None);
    }

    #[test]
    fn change_into_a_file_that_lost_its_name_is_refused() {
        for lost in ["state.db", "state.db-wal"] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("state.db");
            let mut store = Store::open(&path).expect("a new store");
            store.install(&chat()).expect("installed");
            let lost = folder.path().join(lost);
            std::fs::rename(&lost, folder.path().join("away")).expect("moved away");
            for replace in [false, true] {
                if replace {
                    std::fs::copy(folder.path().join("away"), &lost).expect("another file of the same content");
                }
                let refused = store.set_enabled(&chat().id, false);
                assert!(matches!(&refused, Err(StoreError::Lost { path }) if *path == lost), "{refused:?}");
                assert!(matches!(store.finish(), Err(StoreError::Lost { .. })));
            }
            assert_eq!(store.plugins().expect("what it has open is still read"), [chat()]);
        }
    }

    #[test]
    fn finished_store_is_whole_in_one_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.db");
        let mut store = Store::open(&path).expect("a new store");
        store.install(&chat()).expect("installed");
        store.finish().expect("finished");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1, "no journal beside it");
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).expect("copied");
        assert_eq!(Store::open(&copy).expect("the copy").plugins().expect("read"), [chat()]);
    }
}
