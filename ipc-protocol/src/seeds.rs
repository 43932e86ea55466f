//! Hosts and lists of nodes, as operators write them. The supervisor checks these texts; netcore is started with them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::forms::text_on_wire;
use crate::ticket::{InvalidTicket, PREFIX, Ticket};

/// Entries of each list: DNS seeds, configured nodes, Mainline's bootstrap nodes.
pub const MAX_ENTRIES: usize = 64;
/// Longest domain name as text (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// A domain name or IP address with an optional port: `seed.example.org`, `192.0.2.1:7470`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: Option<u16>,
}

/// The error of parsing a [`Host`].
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
        if let Ok(ip) = text.parse::<IpAddr>() {
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

text_on_wire!(Host);
text_on_wire!(Entry);

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

/// An entry in a list of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A known node.
    Ticket(Ticket),
    /// An unknown node at this address.
    Address(SocketAddr),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(ticket) => ticket.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The error of parsing an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    #[error(transparent)]
    Ticket(#[from] InvalidTicket),
    #[error("the ticket has no address, so it cannot be dialed")]
    NoAddress,
    #[error("cannot dial {address}: port 0, or an unspecified, broadcast or multicast address")]
    NotDialable { address: SocketAddr },
    #[error("{text:?} is neither a ticket (polypeer:…) nor an address IP:PORT")]
    Unknown { text: String },
}

impl FromStr for Entry {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        if text.starts_with(PREFIX) {
            let ticket: Ticket = text.parse()?;
            return if ticket.addresses.is_empty() { Err(InvalidEntry::NoAddress) } else { Ok(Self::Ticket(ticket)) };
        }
        let unknown = |_| InvalidEntry::Unknown { text: text.chars().take(MAX_HOST).collect() };
        let address: SocketAddr = text.parse().map_err(unknown)?;
        let ip = address.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(InvalidEntry::NotDialable { address });
        }
        Ok(Self::Address(address))
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
        let id = crate::ids::NodeId([7; 32]);
        assert!(matches!(format!("polypeer:{id}@192.0.2.1:7470").parse(), Ok(Entry::Ticket(_))));
        assert!(matches!("192.0.2.1:7470".parse(), Ok(Entry::Address(_))));
        assert_eq!("192.0.2.1:7470".parse::<Entry>().expect("an entry").to_string(), "192.0.2.1:7470");
        assert_eq!(format!("polypeer:{id}").parse::<Entry>(), Err(InvalidEntry::NoAddress));
        for text in ["polypeer:x", "seed.example.org", "192.0.2.1", ""] {
            assert!(text.parse::<Entry>().is_err(), "{text}");
        }
        for text in
            ["192.0.2.1:0", "0.0.0.0:7470", "[::]:7470", "255.255.255.255:7470", "224.0.0.1:1", "[ff02::1]:7470"]
        {
            let address = text.parse().expect("an address");
            assert_eq!(text.parse::<Entry>(), Err(InvalidEntry::NotDialable { address }));
        }
    }
}
