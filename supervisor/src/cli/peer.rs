//! A peer as typed on the command line: a node id, or a ticket.

use std::str::FromStr;

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::{InvalidTicket, PREFIX, Ticket};

/// A ticket; without addresses when only the node id was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer(pub(super) Ticket);

impl Peer {
    pub(super) fn node(&self) -> NodeId {
        self.0.node
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(PREFIX) {
            return text.parse().map(Self).map_err(|error: InvalidTicket| error.to_string());
        }
        let node = text.trim().parse().map_err(|_| "expected a node id (52 characters) or a ticket (polypeer:…)")?;
        Ok(Self(Ticket { node, addresses: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_ids_or_tickets() {
        let node = NodeId([3; 32]);
        assert_eq!(node.to_string().parse::<Peer>().expect("an id").node(), node);
        assert_eq!(format!("polypeer:{node}@1.2.3.4:5").parse::<Peer>().expect("a ticket").0.addresses.len(), 1);
        assert!("bob".parse::<Peer>().expect_err("neither").contains("node id"));
    }
}
