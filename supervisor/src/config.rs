//! `config.toml` of a home: the operator's settings for the whole node. Every key has a default, so the file may be
//! missing; options of `polypeer run` override it. What concerns the network core is parsed into the type that is sent
//! to it ([`NetSettings`]); `metrics` has where metrics are read.

mod metrics;

use std::net::SocketAddr;

use polypeer_ipc_protocol::ids::NetworkName;
use polypeer_ipc_protocol::settings::{self, DiscoverySettings, NetSettings, PeerSettings};
use serde::Deserialize;

pub use self::metrics::MetricsSettings;
use crate::home::Home;
use crate::manifest::LimitSettings;
use crate::toml_file::{self, Contradiction, FileError};

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Keys")]
pub struct DaemonConfig {
    /// Sent to each netcore.
    pub net: NetSettings,
    /// Whether the bundled apps are installed into a new home.
    pub bundled_apps: bool,
    /// Defaults for plugins that do not set a limit themselves.
    pub limits: LimitSettings,
    pub metrics: MetricsSettings,
}

/// The keys of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    #[serde(deserialize_with = "settings::addresses::deserialize")]
    listen: Vec<SocketAddr>,
    /// An older name of `lan` in `[discovery]`; the local network is used if neither is false.
    lan: bool,
    discovery: DiscoverySettings,
    peers: PeerSettings,
    network: NetworkName,
    bundled_apps: bool,
    limits: LimitSettings,
    metrics: MetricsSettings,
}

impl Default for Keys {
    fn default() -> Self {
        let NetSettings { listen, network, peers, discovery, .. } = NetSettings::default();
        Self {
            listen,
            lan: true,
            network,
            discovery,
            peers,
            bundled_apps: true,
            limits: LimitSettings::default(),
            metrics: MetricsSettings::default(),
        }
    }
}

impl From<Keys> for DaemonConfig {
    fn from(keys: Keys) -> Self {
        let Keys { listen, lan, network, mut discovery, peers, bundled_apps, limits, metrics } = keys;
        discovery.lan &= lan;
        // Of one run only: `polypeer run --seed-only`.
        let seed_only = false;
        Self { net: NetSettings { listen, network, seed_only, peers, discovery }, bundled_apps, limits, metrics }
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
    /// When the file cannot be read or breaks a rule.
    pub fn load(home: &Home) -> Result<Self, FileError> {
        let path = home.config_file();
        let text = match toml_file::read(&path, "") {
            Ok(text) => text,
            Err(FileError::Missing { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let config: Self = toml_file::parse(&path, &text)?;
        let wrong = |place: &[&str], what, hint: &str| {
            let place = place.iter().map(|key| (*key).to_owned()).collect();
            toml_file::contradiction(&path, &text, Contradiction { place, what, hint: hint.into() })
        };
        config.net.check().map_err(|found| wrong(found.place, found.what, found.hint))?;
        config.limits.check().map_err(|(key, what)| wrong(&["limits", key], what, "correct the value"))?;
        Ok(config)
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
            ("lan = 1", "boolean"),
            ("[metrics]\nlisten = \"0.0.0.0:9470\"", "config.toml:2:10: 0.0.0.0:9470 is not a loopback address"),
            ("[metrics]\nlisten = \"192.0.2.1:9470\"", "not a loopback address: anybody who can reach it"),
            ("[metrics]\nlisten = \"localhost\"", "\"localhost\" is not a socket address"),
        ] {
            let told = load(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
