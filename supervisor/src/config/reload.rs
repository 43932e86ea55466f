//! What a change of the file changes in a running daemon.

use serde::{Deserialize, Serialize};

use super::{Configuration, table};

/// `polypeer reload`: the keys that changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReloadDocument {
    /// In force now.
    pub applied: Vec<String>,
    /// In force from the next start of the daemon.
    pub needs_restart: Vec<String>,
    /// What did not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Configuration {
    /// Takes from `new` what applies to a running daemon. The other keys that differ are named, and stay as they are.
    pub(crate) fn take(&mut self, new: Self) -> ReloadDocument {
        let mut changes = ReloadDocument::default();
        for ((key, row), (old, new)) in table::rows().zip(self.settings.iter_mut().zip(new.settings)) {
            let differs = old.value != new.value;
            if row.is_live {
                *old = new;
                changes.applied.extend(differs.then_some(key));
            } else {
                changes.needs_restart.extend(differs.then_some(key));
            }
        }
        self.config.limits = new.config.limits;
        self.config.log = new.config.log;
        self.config.metrics = new.config.metrics;
        self.config.net.discovery.take_seeds(&new.config.net.discovery);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Level};
    use crate::home::Home;

    #[test]
    fn live_keys_are_taken_and_the_others_named_until_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path());
        let load = |text: &str| {
            std::fs::write(home.config_file(), text).expect("written");
            Configuration::load(&home, &Flags::default()).expect("valid")
        };
        let mut running = load("network = \"one\"\n");
        let before = running.config.net.clone();
        let changed = "network = \"two\"\n[limits]\npids = 9\n[log]\nlevel = \"debug\"\n";
        let told = running.take(load(changed));
        assert_eq!(told.applied, ["log.level", "limits.pids"]);
        assert_eq!(told.needs_restart, ["network"]);
        assert_eq!((running.config.log.level, running.config.limits.pids), (Level::Debug, Some(9)));
        assert_eq!(running.config.net, before);
        let again = running.take(load(changed));
        assert_eq!((again.applied.len(), again.needs_restart), (0, vec!["network".to_owned()]));
        assert_eq!(running.take(load("network = \"one\"\n")).applied, ["log.level", "limits.pids"]);

        let seeds = "dns_seeds = [\"seed.example.org\"]\nbuiltin = false\nlist = [\"192.0.2.1:7470\"]\ndht = false";
        let listen = "[metrics]\nlisten = \"127.0.0.1:9470\"\n";
        let told = running.take(load(&format!("network = \"one\"\n[discovery]\n{seeds}\n{listen}")));
        assert_eq!(told.applied, ["discovery.dns_seeds", "discovery.builtin", "discovery.list", "metrics.listen"]);
        assert_eq!(told.needs_restart, ["discovery.dht"]);
        let found = &running.config.net.discovery;
        assert_eq!((found.dns_seeds.len(), found.builtin, found.list.len(), found.dht), (1, false, 1, true));
        assert!(running.config.metrics.listen.is_some());
    }
}
