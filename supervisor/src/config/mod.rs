//! `config.toml` of a home: the operator's settings for the whole node. Every key has a default, so the file may be
//! missing; options of `polypeer run` override it. What concerns the network core is parsed into the type that is sent
//! to it ([`NetSettings`]).
//!
//! `table` describes every key, `example` makes the commented example of it, `shown` says which value each has and
//! where from, `reload` what a change of the file changes in a running daemon; `log` and `metrics` are the sections of
//! these names.

pub mod example;
mod log;
mod metrics;
#[cfg(test)]
mod reference_tests;
mod reload;
mod shown;
mod table;

use std::net::SocketAddr;
use std::path::Path;

use polypeer_ipc_protocol::ids::NetworkName;
use polypeer_ipc_protocol::settings::{self, DiscoverySettings, NetSettings, PeerSettings};
use serde::{Deserialize, Serialize};

pub use self::metrics::MetricsSettings;
use crate::home::Home;
use crate::manifest::LimitSettings;
use crate::toml_file::{self, Contradiction, FileError};
pub(crate) use log::CORE;
pub use log::{Format, Level, LogSettings, MAX_TARGETS, Target};
pub use reload::ReloadDocument;
pub use shown::{SettingDocument, SettingSource};

/// Where an unknown key is looked up.
const REFERENCE: &str = "`polypeer config example` shows every key";

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonConfig {
    /// Sent to each netcore.
    pub net: NetSettings,
    /// Whether the bundled apps are installed into a new home.
    pub bundled_apps: bool,
    /// Defaults for plugins that do not set a limit themselves.
    pub limits: LimitSettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
}

/// Options of `polypeer run`, which override the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Empty: those of the file.
    pub listen: Vec<SocketAddr>,
    pub no_lan: bool,
    pub seed_only: bool,
    /// Log errors only.
    pub quiet: bool,
    /// How many levels more are logged.
    pub verbose: u8,
}

/// A configuration, with the value and the source of every key.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    pub config: DaemonConfig,
    /// In the order of the table.
    pub settings: Vec<SettingDocument>,
}

/// The keys of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    #[serde(with = "settings::addresses")]
    listen: Vec<SocketAddr>,
    /// An older name of `lan` in `[discovery]`; the local network is used if neither is false.
    lan: bool,
    discovery: DiscoverySettings,
    peers: PeerSettings,
    network: NetworkName,
    bundled_apps: bool,
    /// Shown as they are in the file.
    #[serde(skip_serializing)]
    limits: LimitSettings,
    metrics: MetricsSettings,
    log: LogSettings,
}

impl Default for Keys {
    fn default() -> Self {
        let NetSettings { listen, network, peers, discovery, .. } = NetSettings::default();
        let (limits, metrics, log) = Default::default();
        Self { listen, lan: true, network, discovery, peers, bundled_apps: true, limits, metrics, log }
    }
}

impl From<Keys> for DaemonConfig {
    fn from(keys: Keys) -> Self {
        let Keys { listen, lan, network, mut discovery, peers, bundled_apps, limits, metrics, log } = keys;
        discovery.lan &= lan;
        // Of one run only: `polypeer run --seed-only`.
        let seed_only = false;
        let net = NetSettings { listen, network, seed_only, peers, discovery };
        Self { net, bundled_apps, limits, metrics, log }
    }
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Keys::default().into()
    }
}

impl DaemonConfig {
    /// Reads the configuration of `home`; the defaults when there is no file.
    ///
    /// # Errors
    /// As [`Configuration::load`].
    pub fn load(home: &Home) -> Result<Self, FileError> {
        Ok(Configuration::load(home, &Flags::default())?.config)
    }

    fn overridden(mut self, flags: &Flags) -> Self {
        if !flags.listen.is_empty() {
            self.net.listen.clone_from(&flags.listen);
        }
        self.net.discovery.lan &= !flags.no_lan;
        self.net.seed_only = flags.seed_only;
        self.log.level = if flags.quiet { Level::Error } else { self.log.level.more(flags.verbose) };
        self
    }
}

impl Configuration {
    /// Reads the configuration of `home`, with `flags` over it; the defaults when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or breaks a rule.
    pub fn load(home: &Home, flags: &Flags) -> Result<Self, FileError> {
        let path = home.config_file();
        let text = match toml_file::read(&path, "") {
            Ok(text) => text,
            Err(FileError::Missing { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        Self::parse(&path, &text, flags)
    }

    /// Parses the text of a file, with `flags` over it; `path` is only for messages.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn parse(path: &Path, text: &str, flags: &Flags) -> Result<Self, FileError> {
        let keys: Keys = toml_file::parse(path, text, REFERENCE)?;
        let table: toml::Table = toml_file::parse(path, text, REFERENCE)?;
        let values = serde_json::to_value(&keys).expect("settings are plain data");
        let config = DaemonConfig::from(keys);
        let wrong = |place: &[&str], what, hint: &str| {
            let place = place.iter().map(|key| (*key).to_owned()).collect();
            toml_file::contradiction(path, text, Contradiction { place, what, hint: hint.into() })
        };
        config.net.check().map_err(|found| wrong(found.place, found.what, found.hint))?;
        config.limits.check().map_err(|(key, what)| wrong(&["limits", key], what, "correct the value"))?;
        config.log.check().map_err(|what| wrong(&["log", "targets"], what, "remove some"))?;
        let config = config.overridden(flags);
        let settings = shown::settings(&table, &values, &config, flags);
        Ok(Self { config, settings })
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::seeds::MAX_ENTRIES;

    use super::*;
    use crate::manifest::values::Size;

    fn load(text: &str) -> Result<DaemonConfig, FileError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path());
        std::fs::write(home.config_file(), text).expect("the file is written");
        DaemonConfig::load(&home)
    }

    #[test]
    fn missing_and_empty_files_mean_the_defaults() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(DaemonConfig::load(&Home::at(folder.path())).expect("no file"), DaemonConfig::default());
        assert_eq!(load("").expect("an empty file"), DaemonConfig::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = load(
            "listen = [\"127.0.0.1:0\", \"[::1]:7\"]\nlan = false\nnetwork = \"test-1\"\nbundled_apps = false\n[limits]\nmemory = \"64MiB\"\n",
        )
        .expect("a whole file");
        assert_eq!(config.net.listen.len(), 2);
        let (lan, network) = (config.net.discovery.lan, config.net.network.as_str());
        assert_eq!((lan, network, config.bundled_apps), (false, "test-1", false));
        assert_eq!(config.limits.memory, Some(Size(64 << 20)));
    }

    #[test]
    fn metrics_are_read_at_a_loopback_address_only_if_one_is_named() {
        assert_eq!(load("").expect("an empty file").metrics.listen, None);
        for text in ["127.0.0.1:9470", "[::1]:0"] {
            let config = load(&format!("[metrics]\nlisten = {text:?}\n")).expect("a loopback address");
            assert_eq!(config.metrics.listen, Some(text.parse().expect("an address")));
        }
    }

    #[test]
    fn every_key_of_discovery_is_read() {
        let id = polypeer_ipc_protocol::ids::NodeId([7; 32]);
        let text = format!(
            "[discovery]\nremembered = false\nlan = false\ndns_seeds = [\"seed.example.org\", \"b.example:7471\"]\n\
             resolver = \"127.0.0.1:5353\"\nbuiltin = false\nlist = [\"192.0.2.1:7470\", \"polypeer:{id}@192.0.2.2:7470\"]\n\
             exchange = false\ndht = false\n[discovery.mainline]\nenabled = true\nport = 6000\nbootstrap = [\"127.0.0.1:6881\"]\n\
             [peers]\nlow = 4\nhigh = 32\n"
        );
        let config = load(&text).expect("a whole file");
        let found = &config.net.discovery;
        assert!(!found.remembered && !found.lan && !found.builtin && !found.exchange && !found.dht);
        assert_eq!((found.dns_seeds.len(), found.list.len(), found.mainline.bootstrap.len()), (2, 2, 1));
        assert_eq!(found.resolver, Some("127.0.0.1:5353".parse().expect("an address")));
        assert_eq!((found.mainline.enabled, found.mainline.port), (true, 6000));
        assert_eq!((config.net.peers.low, config.net.peers.high), (Some(4), Some(32)));
    }

    #[test]
    fn mistakes_in_discovery_are_told_with_their_place() {
        let many = format!("[discovery]\ndns_seeds = [{}]\n", "\"a.example\", ".repeat(MAX_ENTRIES + 1));
        for (text, expected) in [
            ("[discovery]\ndns_seeds = [\"a b\"]", "config.toml:2:14: \"a b\" is not a host"),
            ("[discovery]\nlist = [\"nonsense\"]", "neither a ticket"),
            ("[discovery]\nlist = [\"polypeer:x\"]", "config.toml:2:9"),
            ("[discovery]\nlist = [\"224.0.0.1:7470\"]", "cannot dial 224.0.0.1:7470"),
            ("[discovery]\nresolver = \"dns.example:53\"", "socket address"),
            (
                "[discovery]\nresolver = \"192.0.2.53\"",
                "config.toml:2:12: \"192.0.2.53\" is not a socket address; expected IP:PORT",
            ),
            ("[discovery]\nresolver = \"127.0.0.1:0\"", "config.toml:2:1: a resolver has a port"),
            ("[discovery]\ndns = true", "unknown key \"dns\""),
            ("[discovery.mainline]\nport = 70000", "config.toml:2:8"),
            ("[peers]\nlow = 0", "config.toml:2:1: 0 is not a number of peers"),
            ("[peers]\nlow = 20\nhigh = 10", "config.toml:2:1: low (20) is above high (10)"),
            ("[peers]\nhigh = 10", "config.toml:2:1: low (16) is above high (10)"),
            ("seed_only = true", "unknown key"),
            (&many, "65 entries; expected at most 64"),
        ] {
            let told = load(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn mistakes_are_told_with_place_and_suggestion() {
        for (text, expected) in [
            ("lan = true\nlisen = []\n", "config.toml:2:1: unknown key \"lisen\""),
            ("listen = [\"localhost:1\"]", "socket address"),
            ("listen = [\"[::]:7470\", \"127.0.0.1\"]", "config.toml:1:10: \"127.0.0.1\" is not a socket address"),
            ("network = \"A B\"", "1 to 32 of a-z"),
            ("[limits]\nmemory = \"1KiB\"", "config.toml:2:1: 1 KiB is too little"),
            ("[metrics]\nlisten = \"0.0.0.0:9470\"", "config.toml:2:10: 0.0.0.0:9470 is not a loopback address"),
            ("[metrics]\nlisten = \"192.0.2.1:9470\"", "not a loopback address: anybody who can reach it"),
            ("[metrics]\nlisten = \"localhost\"", "\"localhost\" is not a socket address"),
            ("lan = 1", "config.toml:1:7: lan: expected true or false, not the number 1"),
            ("[discovery]\nlan = \"no\"", "discovery.lan: expected true or false, not the text \"no\""),
            ("listen = {}", "listen: expected a list such as [\"one\", \"two\"], not a section"),
            (
                "[discovery.mainline]\nport = \"a\"",
                "discovery.mainline.port: expected a whole number, not the text \"a\"",
            ),
            ("[log]\nlevel = \"loud\"", "unknown value \"loud\"; expected one of error, warn, info, debug, trace"),
            ("[log.targets]\nchat = \"info\"", "\"chat\" is not a part of the node; expected daemon or netcore"),
        ] {
            let told = load(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
