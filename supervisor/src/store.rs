//! `state.db`: the installed plugins with their approved manifests, the operator's limits and lists of peers, which
//! plugins are enabled, and the operator's names of peers (`names`). A confirmed change survives a crash: `database` is
//! SQLite in WAL mode, flushed at every commit. Only the daemon that holds [`crate::home::Home::lock`] opens it.

mod database;
mod names;

use polypeer_ipc_protocol::ids::{InvalidId, NodeId, PluginId};
use rusqlite::{OptionalExtension, params};

pub use database::{OpenFiles, Store, StoreError};
pub use names::{MAX_PETNAMES, Named};

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

impl Store {
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
}

/// The note that a plugin is allowed listed peers only.
fn listed_only(id: &PluginId) -> String {
    format!("peers {id}")
}

fn installed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Installed> {
    let id: String = row.get(0)?;
    let id = id.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::<InvalidId>::new(error))
    })?;
    Ok(Installed { id, manifest: row.get(1)?, digest: row.get(2)?, enabled: row.get(3)?, source: row.get(4)? })
}

#[cfg(test)]
mod tests;
