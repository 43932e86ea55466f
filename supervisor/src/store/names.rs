//! The operator's names of peers.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::NodeId;
use rusqlite::OptionalExtension;

use super::{Store, StoreError};
use crate::petname::Petname;

/// Most named peers: far more than a person names, and few enough to send them all to each command.
pub const MAX_PETNAMES: u64 = 4096;

/// What became of a request to name a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Done,
    /// Another peer has this name; nothing was changed.
    Taken(NodeId),
    /// There are [`MAX_PETNAMES`] names already; nothing was changed.
    TooMany,
}

impl Store {
    /// All names.
    pub fn petnames(&self) -> Result<BTreeMap<NodeId, Petname>, StoreError> {
        let rows: Vec<(String, String)> = self.read(|connection| {
            let mut rows = connection.prepare("SELECT node, name FROM petnames")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let parsed = |(node, name): &(String, String)| Some((node.parse().ok()?, name.parse().ok()?));
        rows.iter().map(|row| parsed(row).ok_or_else(|| self.damaged("a name of a peer"))).collect()
    }

    /// Names a peer, or renames it.
    pub fn name_peer(&mut self, node: &NodeId, name: &Petname) -> Result<Named, StoreError> {
        let (node, name) = (node.to_string(), name.as_str());
        let (taken, others) = self.change(|transaction| {
            let query = "SELECT node FROM petnames WHERE name = ?1 AND node != ?2";
            let taken: Option<String> = transaction.query_row(query, [name, &node], |row| row.get(0)).optional()?;
            let query = "SELECT count(*) FROM petnames WHERE node != ?1";
            let others: u64 = transaction.query_row(query, [&node], |row| row.get(0))?;
            if taken.is_none() && others < MAX_PETNAMES {
                let query =
                    "INSERT INTO petnames (node, name) VALUES (?1, ?2) ON CONFLICT (node) DO UPDATE SET name = ?2";
                transaction.execute(query, [&node, name])?;
            }
            Ok((taken, others))
        })?;
        match taken {
            Some(other) => other.parse().map(Named::Taken).map_err(|_| self.damaged("a name of a peer")),
            None if others >= MAX_PETNAMES => Ok(Named::TooMany),
            None => Ok(Named::Done),
        }
    }

    /// Removes the name of a peer. Returns whether it had one.
    pub fn unname_peer(&mut self, node: &NodeId) -> Result<bool, StoreError> {
        let query = "DELETE FROM petnames WHERE node = ?1";
        self.change(|transaction| Ok(transaction.execute(query, [node.to_string()])? > 0))
    }

    /// The peers on the lists of all plugins, each once.
    pub fn listed_peers(&self) -> Result<Vec<NodeId>, StoreError> {
        let texts: Vec<String> = self.read(|connection| {
            let mut rows = connection.prepare("SELECT DISTINCT node FROM peer_lists")?;
            rows.query_map([], |row| row.get(0))?.collect()
        })?;
        texts.iter().map(|text| text.parse().map_err(|_| self.damaged("a node id in a list of peers"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Petname {
        text.parse().expect("a name")
    }

    #[test]
    fn name_belongs_to_one_peer_and_a_peer_has_one_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&folder.path().join("state.db")).expect("a new store");
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!(store.name_peer(&one, &name("ann")).expect("stored"), Named::Done);
        assert_eq!(store.name_peer(&one, &name("anna")).expect("stored"), Named::Done);
        assert_eq!(store.name_peer(&two, &name("anna")).expect("read"), Named::Taken(one));
        assert_eq!(store.name_peer(&two, &name("ann")).expect("free again"), Named::Done);
        let names = store.petnames().expect("read");
        assert_eq!(names, BTreeMap::from([(one, name("anna")), (two, name("ann"))]));
        assert!(store.unname_peer(&one).expect("removed") && !store.unname_peer(&one).expect("gone already"));
    }

    #[test]
    fn number_of_names_is_limited_and_a_full_store_still_renames() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&folder.path().join("state.db")).expect("a new store");
        let node = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            NodeId(bytes)
        };
        store
            .change(|transaction| {
                let mut rows = transaction.prepare("INSERT INTO petnames (node, name) VALUES (?1, ?2)")?;
                (0..MAX_PETNAMES)
                    .try_for_each(|number| rows.execute([node(number).to_string(), format!("n{number}")]).map(drop))
            })
            .expect("as many as there may be");
        assert_eq!(store.name_peer(&node(MAX_PETNAMES), &name("ann")).expect("read"), Named::TooMany);
        assert_eq!(store.name_peer(&node(0), &name("ann")).expect("stored"), Named::Done);
        assert_eq!(store.petnames().expect("read").len() as u64, MAX_PETNAMES);
    }
}
