//! What discovery is started with, and the texts of it: names of seeds, entries of the list.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use polypeer_ipc_protocol::ticket::{InvalidTicket, PREFIX, Ticket};

use super::schedule::Way;
use crate::peers::DEFAULT_PORT;

/// Names of DNS seeds, entries of the configured list, bootstrap nodes of Mainline: of each.
pub const MAX_ENTRIES: usize = 64;
/// Longest name in the domain name system, as text (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
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

/// A name in the domain name system or an IP address, and perhaps a port: `seed.example.org`, `192.0.2.1:7470`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name or the address.
    pub name: String,
    /// The port.
    pub port: Option<u16>,
}

/// Why a text is no [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host; expected NAME or NAME:PORT, such as seed.example.org:7470")]
pub struct InvalidHost {
    text: String,
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost { text: text.chars().take(MAX_HOST).collect() };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { name: address.ip().to_string(), port: Some(address.port()) });
        }
        if let Ok(ip) = text.parse::<std::net::IpAddr>() {
            return Ok(Self { name: ip.to_string(), port: None });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?)),
            None => (text, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if name.len() > MAX_HOST || !name.split('.').all(label) {
            return Err(invalid());
        }
        Ok(Self { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracket = self.name.contains(':');
        match (self.port, bracket) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.name),
            (Some(port), false) => write!(f, "{}:{port}", self.name),
            (None, _) => f.write_str(&self.name),
        }
    }
}

/// An entry of a list of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A node, and where it is.
    Ticket(Ticket),
    /// Whoever is there.
    Address(SocketAddr),
}

/// Why a text is no [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// It begins like a ticket.
    #[error(transparent)]
    Ticket(#[from] InvalidTicket),
    /// A ticket without addresses says whom, not where.
    #[error("the ticket has no address, so it cannot be dialed")]
    Nowhere,
    /// It does not.
    #[error("{text:?} is neither a ticket (polypeer:…) nor an address IP:PORT")]
    Neither {
        /// What was given.
        text: String,
    },
}

impl FromStr for Entry {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        if text.starts_with(PREFIX) {
            let ticket: Ticket = text.parse()?;
            return if ticket.addresses.is_empty() { Err(InvalidEntry::Nowhere) } else { Ok(Self::Ticket(ticket)) };
        }
        let address = text.parse().ok().filter(|address: &SocketAddr| address.port() > 0);
        address.map(Self::Address).ok_or_else(|| InvalidEntry::Neither { text: text.chars().take(MAX_HOST).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for (text, name, port) in [
            ("seed.example.org", "seed.example.org", None),
            ("seed.example.org.:7471", "seed.example.org", Some(7471)),
            ("_seed-1.example", "_seed-1.example", None),
            ("192.0.2.1:7470", "192.0.2.1", Some(7470)),
            ("[2001:db8::1]:7470", "2001:db8::1", Some(7470)),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            let host: Host = text.parse().expect("a host");
            assert_eq!((host.name.as_str(), host.port), (name, port), "{text}");
            assert_eq!(host.to_string().parse(), Ok(host), "{text}");
        }
        let long = format!("{}.org", "a".repeat(64));
        for text in ["", ":7470", "a b", "seed..org", "seed.org:0", "seed.org:x", "seed.org:70000", "é.org", &long] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn entries_are_tickets_that_lead_somewhere_or_addresses() {
        let id = polypeer_ipc_protocol::ids::NodeId([7; 32]);
        assert!(matches!(format!("polypeer:{id}@192.0.2.1:7470").parse(), Ok(Entry::Ticket(_))));
        assert!(matches!("192.0.2.1:7470".parse(), Ok(Entry::Address(_))));
        assert_eq!(format!("polypeer:{id}").parse::<Entry>(), Err(InvalidEntry::Nowhere));
        for text in ["polypeer:x", "seed.example.org", "192.0.2.1", "192.0.2.1:0", ""] {
            assert!(text.parse::<Entry>().is_err(), "{text}");
        }
    }

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
