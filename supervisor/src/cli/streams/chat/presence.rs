//! What this node knows of a peer when a conversation with it begins.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse, PeerState};

use crate::cli::Context;
use crate::cli::peer::Peer;
use crate::cli_error::{CliError, Exit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Online,
    Offline,
    /// No address of it is known.
    Unknown,
}

impl Presence {
    /// Asks the network core.
    ///
    /// # Errors
    /// When the operator has blocked the peer: nothing would be delivered.
    pub(super) async fn of(context: &Context, peer: &Peer) -> Result<Self, CliError> {
        let peers = match context.ask_netcore(AdminRequest::Peers).await? {
            AdminResponse::Peers(peers) => peers,
            other => return Err(crate::cli::unexpected(&other)),
        };
        match peers.iter().find(|known| known.node == peer.node()).map(|known| known.state) {
            Some(PeerState::Connected) => Ok(Self::Online),
            Some(PeerState::Known) => Ok(Self::Offline),
            Some(PeerState::Blocked) => Err(CliError::new(
                Exit::Refused,
                format!("{} is blocked on this node", peer.shown()),
                format!("to lift the block, run: `polypeer peers unblock {}`", peer.node()),
            )),
            None if peer.ticket.addresses.is_empty() => Ok(Self::Unknown),
            None => Ok(Self::Offline),
        }
    }

    /// In words, after the peer's name.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline; messages are kept and delivered when it is back",
            Self::Unknown => {
                "no address of it is known; messages are kept until one is found, or until you use its ticket"
            }
        }
    }
}
