//! Settings of the network core: the one type that `config.toml` is parsed into ([`NetSettings`] and its sections) and
//! that [`crate::admin::AdminRequest::Configure`] carries. Keys, defaults and bounds are here and nowhere else; the
//! supervisor checks them to tell the operator the line of a mistake, netcore checks them again.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::NetworkName;
use crate::seeds::{Entry, Host, MAX_ENTRIES};

/// UDP port of a node.
pub const DEFAULT_PORT: u16 = 7470;
/// UDP port of the socket for Mainline: next to the node's own.
pub const MAINLINE_PORT: u16 = DEFAULT_PORT + 1;
/// Default low watermark: enough peers to hear of others when some go, few enough that their keepalives cost nothing.
pub const LOW: usize = 16;
/// Default high watermark: 13 MiB at some 100 KiB a connection.
pub const HIGH: usize = 128;
/// Most addresses to listen on.
pub const MAX_LISTEN: usize = 16;
/// Largest watermark: netcore holds 1,024 connections, those being set up and closed included.
const MAX_PEERS: usize = 768;

/// Settings of the network core. In a message all fields are there, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetSettings {
    /// UDP addresses to listen on, at most [`MAX_LISTEN`]; port 0 means any. Empty: `0.0.0.0:7470` and `[::]:7470`, or
    /// the next free port.
    #[serde(with = "addresses")]
    pub listen: Vec<SocketAddr>,
    /// Nodes of other networks are refused.
    pub network: NetworkName,
    /// Whether this node only serves newcomers: it accepts many short connections and makes few.
    pub seed_only: bool,
    /// Number of peers.
    pub peers: PeerSettings,
    /// Discovery sources.
    pub discovery: DiscoverySettings,
}

/// `[discovery]`: which sources of peers are on, and what they need. `docs/discovery.md` says what each source does and
/// what it tells others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverySettings {
    /// Dial peers known from earlier runs. Default yes.
    pub remembered: bool,
    /// Find peers on the local network. Default yes.
    pub lan: bool,
    /// Names whose A and AAAA records are addresses of nodes and whose TXT records are tickets, `NAME` or `NAME:PORT`.
    pub dns_seeds: Vec<Host>,
    /// Resolver to ask for them, `IP:PORT`, instead of the system's.
    #[serde(with = "address")]
    pub resolver: Option<SocketAddr>,
    /// Use the list that comes with the program. Default yes.
    pub builtin: bool,
    /// More nodes to begin with: tickets, or addresses `IP:PORT`.
    pub list: Vec<Entry>,
    /// Ask peers for others, and answer when they ask. Default yes.
    pub exchange: bool,
    /// Look for peers in the DHT. Default yes.
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

impl DiscoverySettings {
    /// Settings with every source off.
    pub fn none() -> Self {
        Self { remembered: false, lan: false, builtin: false, exchange: false, dht: false, ..Self::default() }
    }
}

/// `[discovery.mainline]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MainlineSettings {
    /// Announce this node there and look for others. Default no: it publishes the node's address.
    pub enabled: bool,
    /// UDP port of its own IPv4 socket; 0 means any. Default [`MAINLINE_PORT`].
    pub port: u16,
    /// Bootstrap nodes, `NAME:PORT`; empty for well-known ones.
    pub bootstrap: Vec<Host>,
}

impl Default for MainlineSettings {
    fn default() -> Self {
        Self { enabled: false, port: MAINLINE_PORT, bootstrap: Vec::new() }
    }
}

/// `[peers]`: watermarks, 1 to 768. Without one, netcore's default, which is another for a node that serves newcomers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerSettings {
    /// Below this many connections more are dialed. Default [`LOW`].
    pub low: Option<usize>,
    /// Above this many the least useful are closed. Default [`HIGH`].
    pub high: Option<usize>,
}

/// A setting that is out of bounds or contradicts another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", place.join("."))]
pub struct InvalidSettings {
    /// Sections and key, outermost first.
    pub place: &'static [&'static str],
    /// What is wrong, and what was expected.
    pub what: String,
    /// The next thing to try.
    pub hint: &'static str,
}

impl NetSettings {
    /// Checks what the types cannot say: lengths of lists, and rules over several keys.
    ///
    /// # Errors
    /// The first setting that breaks a rule.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let wrong = |place, what, hint| Err(InvalidSettings { place, what, hint });
        if self.listen.len() > MAX_LISTEN {
            let what = format!("{} addresses; expected at most {MAX_LISTEN}", self.listen.len());
            return wrong(&["listen"], what, "use 0.0.0.0 and [::] to listen on every interface");
        }
        self.discovery.check()?;
        self.peers.check()
    }
}

impl DiscoverySettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first setting that breaks a rule.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        let wrong = |place, what, hint| Err(InvalidSettings { place, what, hint });
        let Self { dns_seeds, list, mainline, resolver, .. } = self;
        let lists: [(&'static [&'static str], usize); 3] = [
            (&["discovery", "dns_seeds"], dns_seeds.len()),
            (&["discovery", "list"], list.len()),
            (&["discovery", "mainline", "bootstrap"], mainline.bootstrap.len()),
        ];
        for (place, count) in lists {
            if count > MAX_ENTRIES {
                let what = format!("{count} entries; expected at most {MAX_ENTRIES}");
                return wrong(place, what, "keep the best ones; peers tell of further nodes");
            }
        }
        if resolver.is_some_and(|resolver| resolver.port() == 0) {
            let what = "a resolver has a port".to_owned();
            return wrong(&["discovery", "resolver"], what, "add it, such as 192.0.2.53:53");
        }
        Ok(())
    }

    /// Takes from `new` the nodes to begin with, which may change while a node runs.
    pub fn take_seeds(&mut self, new: &Self) {
        self.dns_seeds.clone_from(&new.dns_seeds);
        self.builtin = new.builtin;
        self.list.clone_from(&new.list);
    }
}

impl PeerSettings {
    fn check(&self) -> Result<(), InvalidSettings> {
        let (low, high): (&'static [_], &'static [_]) = (&["peers", "low"], &["peers", "high"]);
        for (place, count) in [(low, self.low), (high, self.high)] {
            if let Some(count) = count.filter(|count| !(1..=MAX_PEERS).contains(count)) {
                let what = format!("{count} is not a number of peers; expected 1 to {MAX_PEERS}");
                return Err(InvalidSettings { place, what, hint: "correct the value" });
            }
        }
        let place = if self.low.is_some() { low } else { high };
        let (low, high) = (self.low.unwrap_or(LOW), self.high.unwrap_or(HIGH));
        if low <= high {
            return Ok(());
        }
        let what = format!("low ({low}) is above high ({high})");
        Err(InvalidSettings { place, what, hint: "set low at or below high" })
    }
}

/// A socket address as text, with an error that says what is expected.
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

/// Optional socket address, as text.
mod address {
    use super::{Address, Deserialize, Deserializer, Serialize, Serializer, SocketAddr};

    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        address.map(|address| address.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        Ok(Option::<Address>::deserialize(deserializer)?.map(|address| address.0))
    }
}

/// List of socket addresses, as texts.
pub mod addresses {
    use super::{Address, Deserialize, Deserializer, Serializer, SocketAddr};

    /// Writes a list of texts, `IP:PORT` each.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(addresses: &[SocketAddr], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(addresses.iter().map(ToString::to_string))
    }

    /// Reads the list.
    ///
    /// # Errors
    /// The first text that is not `IP:PORT`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
        Ok(Vec::<Address>::deserialize(deserializer)?.into_iter().map(|address| address.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn settings_sent_arrive_as_they_were() {
        let discovery = DiscoverySettings {
            dns_seeds: vec!["seed.example.org:7471".parse().expect("a host")],
            resolver: Some("[::1]:53".parse().expect("an address")),
            list: vec!["192.0.2.1:7470".parse().expect("an entry")],
            mainline: MainlineSettings { enabled: true, port: 0, bootstrap: Vec::new() },
            ..DiscoverySettings::none()
        };
        let settings = NetSettings {
            listen: vec!["[::]:7470".parse().expect("an address")],
            network: "test-1".parse().expect("a name"),
            seed_only: true,
            peers: PeerSettings { low: Some(4), high: None },
            discovery,
        };
        let mut bytes = Vec::new();
        codec::encode(&settings, &mut bytes).expect("encoded");
        assert_eq!(codec::decode(&bytes).ok(), Some(settings));
    }

    #[test]
    fn mistake_is_named_by_its_place() {
        let peers = PeerSettings { low: Some(200), high: None };
        let settings = NetSettings { peers, ..NetSettings::default() };
        assert_eq!(settings.check().expect_err("refused").to_string(), "peers.low: low (200) is above high (128)");
    }
}
