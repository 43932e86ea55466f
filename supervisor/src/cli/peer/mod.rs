//! A peer as typed on the command line: a name, a node id or the start of one, a ticket, or `local` for the own node.
//! Every command that takes a peer has a [`PeerArgument`], and resolves it once it runs. `search` finds the peer among
//! those that the daemon knows.

mod search;

use std::str::FromStr;

use polypeer_ipc_protocol::gateway::Target;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::{InvalidTicket, PREFIX, Ticket};

use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::control::known::KnownPeers;
use crate::control::{Answer, Request};
use crate::petname::{self, LOCAL, Petname};

/// Longest text that is looked up, bytes: longer than a node id with a typing error or two.
const MAX_TEXT: usize = 64;

/// A peer as typed, of a plausible form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PeerArgument {
    /// A ticket; without addresses when only the node id was typed.
    Ticket(Ticket),
    /// A name, the start of a node id, or `local`.
    Text(String),
}

/// A peer, or the own node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// Without addresses, those that netcore knows are meant.
    pub(super) ticket: Ticket,
    /// The operator's name for it.
    pub(super) name: Option<Petname>,
    /// Whether it is the own node.
    pub(super) is_own: bool,
}

impl FromStr for PeerArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with(PREFIX) {
            return text.parse().map(Self::Ticket).map_err(|error: InvalidTicket| error.to_string());
        }
        if let Ok(node) = text.parse() {
            return Ok(Self::Ticket(Ticket { node, addresses: Vec::new() }));
        }
        let is_plausible = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if text.is_empty() || text.len() > MAX_TEXT || !text.bytes().all(is_plausible) {
            let wrong = text.chars().find(|c| !c.is_ascii() || !is_plausible(*c as u8));
            let wrong = wrong.map(|c| format!("; {c:?} occurs in neither a name nor an id")).unwrap_or_default();
            return Err(format!("expected a name, a node id or its start, a ticket (polypeer:…), or {LOCAL}{wrong}"));
        }
        Ok(Self::Text(text.to_owned()))
    }
}

impl PeerArgument {
    /// Finds the peer that is meant, with the help of the daemon.
    ///
    /// # Errors
    /// [`Exit::Usage`] when the text fits no peer or several, or differs from the id of a known peer by a typing error;
    /// [`Exit::NotRunning`] when no daemon runs.
    pub(super) async fn resolve(self, context: &Context) -> Result<Peer, CliError> {
        let known = match known_peers(context).await {
            Ok(known) => known,
            Err(error) if error.exit == Exit::NotRunning => {
                return Err(self.fault().map_or(error, |fault| CliError::usage(fault, "check the text")));
            }
            Err(error) => return Err(error),
        };
        self.among(&known)
    }

    /// As [`Self::resolve`], for a command that is about another node.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`Exit::Usage`] for the own node.
    pub(super) async fn resolve_other(self, context: &Context) -> Result<Peer, CliError> {
        let peer = self.resolve(context).await?;
        match peer.is_own {
            true => Err(CliError::usage("this is your own node", "name another one; `polypeer peers` lists them")),
            false => Ok(peer),
        }
    }

    fn among(self, known: &KnownPeers) -> Result<Peer, CliError> {
        let ticket = match self {
            Self::Ticket(ticket) => {
                search::check(&ticket.node, known)?;
                ticket
            }
            Self::Text(text) if text == LOCAL => Ticket { node: known.own, addresses: Vec::new() },
            Self::Text(text) => Ticket { node: search::find(&text, known)?, addresses: Vec::new() },
        };
        let name = known.name(&ticket.node).cloned();
        Ok(Peer { is_own: ticket.node == known.own, ticket, name })
    }

    /// Why the text can be neither a name nor the start of an id, whatever peers are known.
    fn fault(&self) -> Option<String> {
        match self {
            Self::Text(text) if !Petname::is_form_of(text) => search::fault(text),
            _ => None,
        }
    }
}

impl Peer {
    pub(super) fn node(&self) -> NodeId {
        self.ticket.node
    }

    /// The peer as messages name it: `ann (gkmuj994)`, or its whole id if it has no name.
    pub(super) fn shown(&self) -> String {
        petname::shown(&self.ticket.node, self.name.as_ref())
    }

    /// What to open a stream to: the own node's plugins, the ticket that was typed, or the peer by its id.
    pub(super) fn target(self) -> Target {
        match self.is_own {
            true => Target::Local,
            false if self.ticket.addresses.is_empty() => Target::Node(self.ticket.node),
            false => Target::Ticket(self.ticket),
        }
    }
}

/// The peers that the daemon knows, with their names.
///
/// # Errors
/// When no daemon runs.
pub(super) async fn known_peers(context: &Context) -> Result<KnownPeers, CliError> {
    match context.ask(Request::KnownPeers).await? {
        Answer::KnownPeers(known) => Ok(*known),
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn peers_are_ids_tickets_names_or_starts_of_ids() {
        let node = NodeId([3; 32]);
        let ticket = |text: &str| match text.parse() {
            Ok(PeerArgument::Ticket(ticket)) => (ticket.node, ticket.addresses.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(ticket(&node.to_string()), (node, 0));
        assert_eq!(ticket(&format!("polypeer:{node}@1.2.3.4:5")), (node, 1));
        assert_eq!("bob".parse(), Ok(PeerArgument::Text("bob".into())));
        assert!("Bob".parse::<PeerArgument>().expect_err("capital").contains("'B' occurs in neither"));
        assert!("polypeer:x".parse::<PeerArgument>().is_err() && " ".parse::<PeerArgument>().is_err());
    }

    #[test]
    fn own_node_is_local_by_whatever_it_was_named() {
        let known = KnownPeers { own: NodeId([7; 32]), names: BTreeMap::new(), nodes: Vec::new() };
        for text in [LOCAL, &known.own.to_string(), &known.own.to_string()[..5]] {
            let peer = text.parse::<PeerArgument>().expect("plausible").among(&known).expect("the own node");
            assert!(peer.is_own && peer.target() == Target::Local, "{text}");
        }
    }
}
