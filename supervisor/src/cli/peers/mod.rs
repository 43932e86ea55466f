//! `polypeer peers …`: lists peers, names them, and changes what the node does with one.

mod list;
mod name;

use clap::{Args, Subcommand};
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use serde_json::json;

use super::peer::PeerArgument;
use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::{PingDocument, milliseconds};

/// Time limit of `peers add` and `peers ping`, milliseconds.
const REACH_TIME: u32 = 20_000;

/// List peers; add, name, ping, block or protect one
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A PEER is the name you gave it, its node id or the start of it (4 characters or more), or a ticket."
)]
pub(super) struct Peers {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Add a peer and connect to it
    Add {
        /// What `polypeer ticket` printed on the other node
        ticket: Ticket,
    },
    Name(name::Name),
    /// Measure the round-trip time to a peer
    Ping {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
    /// Disconnect a peer and refuse it until it is unblocked
    Block {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
    /// Remove a block, and lift a ban for misbehaviour
    Unblock {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
    /// Keep a peer connected: dial it first, never disconnect it in favour of another
    Protect {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
    /// Remove the protection of a peer
    Unprotect {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
    /// Disconnect a peer and delete what is stored about it, except a block and the name you gave it
    Forget {
        /// Name, node id or its start, or ticket
        peer: PeerArgument,
    },
}

impl Peers {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command.unwrap_or(Command::List(self.list)) {
            Command::List(command) => command.run(context).await,
            Command::Name(command) => command.run(context).await,
            Command::Add { ticket } => {
                let peer = PeerArgument::Ticket(ticket);
                reach(context, peer, "connected to", |ticket| AdminRequest::AddPeer { ticket, timeout_ms: REACH_TIME })
                    .await
            }
            Command::Ping { peer } => {
                reach(context, peer, "reply from", |ticket| AdminRequest::Ping { ticket, timeout_ms: REACH_TIME }).await
            }
            Command::Block { peer } => change(context, peer, |node| AdminRequest::Block { node }, "blocked").await,
            Command::Unblock { peer } => {
                change(context, peer, |node| AdminRequest::Unblock { node }, "unblocked").await
            }
            Command::Protect { peer } => {
                change(context, peer, |node| AdminRequest::Protect { node, protected: true }, "protected").await
            }
            Command::Unprotect { peer } => {
                change(context, peer, |node| AdminRequest::Protect { node, protected: false }, "unprotected").await
            }
            Command::Forget { peer } => {
                change(context, peer, |node| AdminRequest::Forget { node }, "forgot").await?;
                context
                    .printer
                    .say("it comes back if it connects again or is found again; `polypeer peers block` refuses it");
                Ok(())
            }
        }
    }
}

async fn reach(
    context: &Context,
    peer: PeerArgument,
    verb: &str,
    request: impl FnOnce(Ticket) -> AdminRequest,
) -> Result<(), CliError> {
    let peer = peer.resolve_other(context).await?;
    match context.ask_netcore(request(peer.ticket.clone())).await? {
        AdminResponse::Pong { node, rtt_us } => {
            let ping = PingDocument { node_id: node, rtt_ms: milliseconds(rtt_us) };
            context.printer.either(&ping, || format!("{verb} {} in {:.1} ms", peer.shown(), ping.rtt_ms))
        }
        other => Err(unexpected(&other)),
    }
}

async fn change(
    context: &Context,
    peer: PeerArgument,
    request: impl FnOnce(NodeId) -> AdminRequest,
    verb: &str,
) -> Result<(), CliError> {
    let peer = peer.resolve_other(context).await?;
    match context.ask_netcore(request(peer.node())).await? {
        AdminResponse::Done if context.printer.json => context.printer.document(&json!({ "node_id": peer.node() })),
        AdminResponse::Done => {
            context.printer.say(format!("{verb} {}", peer.shown()));
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}
