//! `config.toml` of a home: what the operator set for the whole node. Every key has a default, so the file may be
//! missing. Options of `polypeer run` go over it.

use std::net::SocketAddr;

use polypeer_ipc_protocol::seeds::{Entry, Host, MAX_ENTRIES};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::home::Home;
use crate::manifest::LimitSettings;
use crate::toml_file::{self, Contradiction, FileError};

/// Most addresses to listen on.
pub const MAX_LISTEN: usize = 16;
/// Most peers that can be asked for: netcore holds 1,024 connections, those coming and going included.
const MAX_PEERS: usize = 768;
/// The network core's own water marks, for comparing one that is set with one that is not.
const LOW: usize = 16;
const HIGH: usize = 128;

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// UDP addresses of the node, `IP:PORT`; port 0 means any. Empty: `0.0.0.0:7470` and `[::]:7470`, or the next free
    /// port.
    #[serde(deserialize_with = "socket_addresses")]
    pub listen: Vec<SocketAddr>,
    /// Whether to find peers on the local network; off if this or `lan` of `[discovery]` is. Default yes.
    pub lan: bool,
    /// How peers are found.
    pub discovery: DiscoverySettings,
    /// How many peers to have.
    pub peers: PeerSettings,
    /// Which nodes of a local network belong together. Default `main`.
    #[serde(deserialize_with = "network_name")]
    pub network: String,
    /// Whether the bundled apps are installed into a new home. Default yes.
    pub bundled_apps: bool,
    /// Defaults for plugins that do not set a limit themselves.
    pub limits: LimitSettings,
    /// Whether this run only serves newcomers; not a key of the file: `polypeer run --seed-only`.
    #[serde(skip)]
    pub seed_only: bool,
}

/// `[discovery]`: docs/discovery.md says what each source does and tells others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverySettings {
    /// Whether to dial peers known from earlier runs. Default yes.
    pub remembered: bool,
    /// Whether to find peers on the local network. Default yes.
    pub lan: bool,
    /// Names whose A and AAAA records are addresses of nodes and whose TXT records are tickets, `NAME` or `NAME:PORT`.
    pub dns_seeds: Vec<Host>,
    /// The resolver to ask for them, `IP:PORT`, instead of the system's.
    #[serde(deserialize_with = "socket_address")]
    pub resolver: Option<SocketAddr>,
    /// Whether to use the list that comes with the program. Default yes.
    pub builtin: bool,
    /// More nodes to begin with: tickets, or addresses `IP:PORT`.
    pub list: Vec<Entry>,
    /// Whether to ask peers for others, and to answer when they ask. Default yes.
    pub exchange: bool,
    /// Whether to look for peers in the DHT. Default yes.
    pub dht: bool,
    /// The BitTorrent Mainline DHT.
    pub mainline: MainlineSettings,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            remembered: true,
            lan: true,
            dns_seeds: Vec::new(),
            resolver: None,
            builtin: true,
            list: Vec::new(),
            exchange: true,
            dht: true,
            mainline: MainlineSettings::default(),
        }
    }
}

/// `[discovery.mainline]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MainlineSettings {
    /// Whether to announce this node there and to look for others. Default no: it publishes the node's address.
    pub enabled: bool,
    /// The UDP port of its own IPv4 socket; 0 means any. Default 7471.
    pub port: u16,
    /// Where to enter, `NAME:PORT`; empty for well-known nodes.
    pub bootstrap: Vec<Host>,
}

impl Default for MainlineSettings {
    fn default() -> Self {
        Self { enabled: false, port: 7471, bootstrap: Vec::new() }
    }
}

/// `[peers]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerSettings {
    /// Below this many connections more are made. Default 16.
    pub low: Option<usize>,
    /// Above this many the least useful are ended. Default 128.
    pub high: Option<usize>,
}

impl PeerSettings {
    /// The key that is wrong, how, and what to do.
    fn check(&self) -> Option<(&'static str, String, &'static str)> {
        let outside = |count: Option<usize>| count.filter(|count| !(1..=MAX_PEERS).contains(count));
        for (key, count) in [("low", self.low), ("high", self.high)] {
            if let Some(count) = outside(count) {
                let what = format!("{count} is not a number of peers; expected 1 to {MAX_PEERS}");
                return Some((key, what, "correct the value"));
            }
        }
        let (low, high) = (self.low.unwrap_or(LOW), self.high.unwrap_or(HIGH));
        (low > high).then(|| {
            let key = if self.low.is_some() { "low" } else { "high" };
            (key, format!("low ({low}) is above high ({high})"), "set low at or below high")
        })
    }
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            lan: true,
            discovery: DiscoverySettings::default(),
            peers: PeerSettings::default(),
            network: "main".into(),
            bundled_apps: true,
            limits: LimitSettings::default(),
            seed_only: false,
        }
    }
}

/// An address in a file.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Address(SocketAddr);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |_| format!("{text:?} is not a socket address; expected IP:PORT, and for IPv6 [IP]:PORT");
        text.parse().map(Self).map_err(wrong)
    }
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    Address::deserialize(deserializer).map(|address| Some(address.0))
}

fn socket_addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    Ok(Vec::<Address>::deserialize(deserializer)?.into_iter().map(|address| address.0).collect())
}

fn network_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        Ok(name)
    } else {
        Err(D::Error::custom(format!("{name:?} is not a network name; expected 1 to 32 of a-z, 0-9 and '-'")))
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
        let place = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let wrong = |place, what, hint: &str| {
            toml_file::contradiction(&path, &text, Contradiction { place, what, hint: hint.into() })
        };
        if config.listen.len() > MAX_LISTEN {
            let what = format!("{} addresses; expected at most {MAX_LISTEN}", config.listen.len());
            return Err(wrong(place(&["listen"]), what, "use 0.0.0.0 and [::] to listen on every interface"));
        }
        let discovery = &config.discovery;
        for (keys, count) in [
            (&["discovery", "dns_seeds"][..], discovery.dns_seeds.len()),
            (&["discovery", "list"], discovery.list.len()),
            (&["discovery", "mainline", "bootstrap"], discovery.mainline.bootstrap.len()),
        ] {
            if count > MAX_ENTRIES {
                let what = format!("{count} entries; expected at most {MAX_ENTRIES}");
                return Err(wrong(place(keys), what, "keep the best ones; peers tell of further nodes"));
            }
        }
        if discovery.resolver.is_some_and(|resolver| resolver.port() == 0) {
            let what = "a resolver has a port".to_owned();
            return Err(wrong(place(&["discovery", "resolver"]), what, "add it, such as 192.0.2.53:53"));
        }
        if let Some((key, what, hint)) = config.peers.check() {
            return Err(wrong(place(&["peers", key]), what, hint));
        }
        if let Err((key, what)) = config.limits.check() {
            return Err(wrong(place(&["limits", key]), what, "correct the value"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(config.listen.len(), 2);
        assert_eq!((config.lan, config.network.as_str(), config.bundled_apps), (false, "test-1", false));
        assert_eq!(config.limits.memory, Some(Size(64 << 20)));
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
        let found = &config.discovery;
        assert!(!found.remembered && !found.lan && !found.builtin && !found.exchange && !found.dht);
        assert_eq!((found.dns_seeds.len(), found.list.len(), found.mainline.bootstrap.len()), (2, 2, 1));
        assert_eq!(found.resolver, Some("127.0.0.1:5353".parse().expect("an address")));
        assert_eq!((found.mainline.enabled, found.mainline.port), (true, 6000));
        assert_eq!((config.peers.low, config.peers.high), (Some(4), Some(32)));
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
        ] {
            let told = load(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
