//! Tickets: text that lets a stranger dial a node, `polypeer:ID@ADDRESS,ADDRESS…`. Later versions may append
//! `;key=value` parts, which readers skip.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::forms::text_on_wire;
use crate::ids::{InvalidId, NodeId};
use crate::limits::{MAX_TICKET, MAX_TICKET_ADDRESSES};

/// The prefix of every ticket.
pub const PREFIX: &str = "polypeer:";

/// A node and its addresses. Without addresses, the reader has to look them up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub node: NodeId,
    /// At most 16.
    pub addresses: Vec<SocketAddr>,
}

text_on_wire!(Ticket);

/// The error of parsing a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTicket {
    #[error("a ticket starts with {PREFIX:?}: `polypeer ticket` on the other node prints one")]
    Prefix,
    #[error("a ticket has at most {MAX_TICKET} bytes and {MAX_TICKET_ADDRESSES} addresses")]
    TooLong,
    /// The part before `@` is not a node id.
    #[error(transparent)]
    Node(#[from] InvalidId),
    /// Not `IP:PORT`, or with an IPv6 zone, which is meaningless on another machine.
    #[error("{text:?} in the ticket is not an address: expected IP:PORT")]
    Address { text: String },
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.node)?;
        for (index, address) in self.addresses.iter().take(MAX_TICKET_ADDRESSES).enumerate() {
            let address = SocketAddr::new(address.ip(), address.port()); // without a zone
            write!(f, "{}{address}", if index == 0 { '@' } else { ',' })?;
        }
        Ok(())
    }
}

impl FromStr for Ticket {
    type Err = InvalidTicket;

    fn from_str(text: &str) -> Result<Self, InvalidTicket> {
        let text = text.trim();
        if text.len() > MAX_TICKET {
            return Err(InvalidTicket::TooLong);
        }
        let body = text.strip_prefix(PREFIX).ok_or(InvalidTicket::Prefix)?;
        let body = body.split_once(';').map_or(body, |(known, _)| known);
        let (node, addresses) = body.split_once('@').map_or((body, None), |(node, rest)| (node, Some(rest)));
        let addresses = addresses
            .map(|list| list.split(',').map(parse_address).collect::<Result<Vec<_>, _>>())
            .transpose()?
            .unwrap_or_default();
        if addresses.len() > MAX_TICKET_ADDRESSES {
            return Err(InvalidTicket::TooLong);
        }
        Ok(Self { node: node.parse()?, addresses })
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, InvalidTicket> {
    let address = if text.contains('%') { None } else { text.parse().ok() };
    address.ok_or_else(|| InvalidTicket::Address { text: text.to_owned() })
}

impl TryFrom<String> for Ticket {
    type Error = InvalidTicket;

    fn try_from(text: String) -> Result<Self, InvalidTicket> {
        text.parse()
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> Self {
        ticket.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_reads_back_with_both_address_families() {
        let node = NodeId([7; 32]);
        let addresses = vec!["192.0.2.1:7470".parse().expect("v4"), "[2001:db8::1]:9".parse().expect("v6")];
        let ticket = Ticket { node, addresses };
        assert_eq!(ticket.to_string().parse(), Ok(ticket.clone()));
        assert_eq!(format!(" {ticket};relay=later\n").parse(), Ok(ticket));
        assert_eq!(format!("polypeer:{node}").parse(), Ok(Ticket { node, addresses: vec![] }));
    }

    #[test]
    fn text_that_is_no_ticket_is_refused() {
        let node = NodeId([7; 32]);
        assert_eq!("http://x".parse::<Ticket>(), Err(InvalidTicket::Prefix));
        assert!(format!("polypeer:{node}@").parse::<Ticket>().is_err());
        assert!(format!("polypeer:{node}@localhost:1").parse::<Ticket>().is_err());
        assert!(format!("polypeer:{node}@[fe80::1%2]:1").parse::<Ticket>().is_err());
        assert!(format!("polypeer:{node}@{}", ["1.2.3.4:5"; 17].join(",")).parse::<Ticket>().is_err());
        assert!("polypeer:short@1.2.3.4:5".parse::<Ticket>().is_err());
    }
}
