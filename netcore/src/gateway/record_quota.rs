//! The quota of DHT records that the node republishes for each plugin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use polypeer_engine::dht::{Key, limits};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::PluginId;

use super::launch::ActiveUse;

/// Most records of one plugin: a quarter of those that the node republishes in all.
const MAX_KEPT: usize = limits::MAX_OWN_RECORDS / 4;

/// The republished records of each plugin. Expired ones are removed when the next is added.
#[derive(Debug, Default)]
pub(crate) struct RecordQuota(Mutex<BTreeMap<PluginId, BTreeMap<Key, Record>>>);

/// A record that the node republishes. It holds its use, which counts as long as the entry lives.
#[derive(Debug)]
struct Record {
    /// Unix time, seconds.
    expires: u64,
    _active: Arc<ActiveUse>,
}

impl RecordQuota {
    /// Adds a plugin's record; `expires` and `unix` (now) are in Unix seconds. Returns whether the plugin had none
    /// under `key`. Fails with `busy` beyond [`MAX_KEPT`].
    pub(super) fn enter(&self, key: Key, expires: u64, unix: u64, active: Arc<ActiveUse>) -> Result<bool, Failure> {
        let plugin = &active.launch().plugin.clone();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, keys| {
            keys.retain(|_, record| record.expires > unix);
            !keys.is_empty()
        });
        let keys = kept.entry(plugin.clone()).or_default();
        if keys.len() >= MAX_KEPT && !keys.contains_key(&key) {
            let text = format!(
                "plugin {plugin} has {MAX_KEPT} records in the hash table, which is the limit; each ends with its lifetime, \
                 a day at most: give those a shorter one that need no more"
            );
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        Ok(keys.insert(key, Record { expires, _active: active }).is_none())
    }

    /// Removes a plugin's record from the quota.
    pub(super) fn forget(&self, plugin: &PluginId, key: &Key) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = kept.get_mut(plugin) {
            keys.remove(key);
        }
    }

    /// Removes a record that a plugin may no longer have. Returns whether no other plugin has it either.
    pub(super) fn revoke(&self, plugin: &PluginId, key: &Key) -> bool {
        self.forget(plugin, key);
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).values().any(|keys| keys.contains_key(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::launch::any_use;

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Key(key)
    }

    #[test]
    fn a_plugin_has_so_many_records_and_others_have_theirs() {
        let quota = RecordQuota::default();
        let (files, chat) = (any_use("files"), any_use("chat"));
        for number in 0..MAX_KEPT {
            assert_eq!(quota.enter(key(number), 100 + number as u64, 50, Arc::clone(&files)), Ok(true));
        }
        let over = key(MAX_KEPT);
        assert!(quota.enter(over, 1000, 50, Arc::clone(&files)).unwrap_err().is(ErrorCode::Busy));
        assert_eq!(quota.enter(over, 1000, 50, Arc::clone(&chat)), Ok(true), "another plugin has room");
        assert_eq!(quota.enter(key(7), 1000, 50, Arc::clone(&files)), Ok(false), "a newer one takes no more room");
        quota.forget(&files.launch().plugin, &key(9));
        assert_eq!(quota.enter(over, 1000, 50, Arc::clone(&files)), Ok(true), "one was not put");
        assert!(quota.enter(key(9), 1000, 50, Arc::clone(&files)).is_err());
        assert_eq!(quota.enter(key(9), 1000, 100, Arc::clone(&files)), Ok(true), "one has ended");
        assert_eq!(quota.enter(over, 2000, 1000, Arc::clone(&chat)), Ok(true));
        assert_eq!(quota.0.lock().unwrap().len(), 1, "nothing is left of what has ended");
    }
}
