//! What discovery is started with.

use std::net::SocketAddr;

use polypeer_ipc_protocol::seeds::{Entry, Host};

use super::schedule::Way;
use crate::peers::DEFAULT_PORT;

/// The port of the socket for Mainline, unless set: next to the node's own.
pub const MAINLINE_PORT: u16 = DEFAULT_PORT + 1;

/// Which sources are on, and what they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// Whether peers of earlier runs are dialed.
    pub remembered: bool,
    /// Whether to look at the local network.
    pub lan: bool,
    /// Names of seeds in the domain name system.
    pub dns_seeds: Vec<Host>,
    /// The resolver to ask for them, instead of the system's.
    pub resolver: Option<SocketAddr>,
    /// Whether the built-in list is used.
    pub builtin: bool,
    /// The configured list.
    pub list: Vec<Entry>,
    /// Whether peers are asked for others, and answered.
    pub exchange: bool,
    /// Whether peers are looked for in the DHT.
    pub dht: bool,
    /// The BitTorrent Mainline DHT, unless off.
    pub mainline: Option<MainlineConfig>,
}

impl Default for DiscoveryConfig {
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
            mainline: None,
        }
    }
}

impl DiscoveryConfig {
    /// The sources there is something to ask of.
    pub(super) fn enabled(&self) -> Vec<Way> {
        let on = |way: &Way| match way {
            Way::Remembered => self.remembered,
            Way::Lan => self.lan,
            Way::Dns => !self.dns_seeds.is_empty(),
            Way::List => !self.entries().is_empty(),
            Way::Exchange => self.exchange,
            Way::Dht => self.dht,
            Way::Mainline => self.mainline.is_some(),
        };
        Way::ALL.into_iter().filter(on).collect()
    }

    /// The built-in list, unless it is off, and the configured one.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let builtin = if self.builtin { super::list::builtin() } else { Vec::new() };
        builtin.into_iter().chain(self.list.iter().cloned()).collect()
    }
}

/// The Mainline DHT as this node uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainlineConfig {
    /// The UDP port of its own socket; 0 for any.
    pub port: u16,
    /// Where it is entered; empty for the well-known nodes.
    pub bootstrap: Vec<Host>,
}

impl Default for MainlineConfig {
    fn default() -> Self {
        Self { port: MAINLINE_PORT, bootstrap: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_without_anything_to_ask_is_off() {
        let nothing = DiscoveryConfig { builtin: false, ..DiscoveryConfig::default() };
        assert_eq!(nothing.enabled(), [Way::Remembered, Way::Lan, Way::Exchange, Way::Dht]);
        let all = DiscoveryConfig {
            dns_seeds: vec!["seed.example.org".parse().expect("a host")],
            list: vec!["192.0.2.1:7470".parse().expect("an entry")],
            mainline: Some(MainlineConfig::default()),
            ..nothing
        };
        assert_eq!(all.enabled(), Way::ALL);
    }
}
