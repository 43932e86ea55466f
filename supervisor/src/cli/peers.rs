//! `polypeer peers …`: lists peers, and changes what the node does with one.

use clap::{Args, Subcommand};
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ticket::Ticket;
use serde_json::json;

use super::peer::Peer;
use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::{PeerDocument, PingDocument, milliseconds};
use crate::manifest::values::shown_size;
use crate::output::{duration, known};

/// Time limit of `peers add` and `peers ping`, milliseconds.
const REACH_TIME: u32 = 20_000;

/// List peers; add, ping, block or protect one
#[derive(Debug, Args)]
pub(super) struct Peers {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List connected, known and blocked peers [default]
    List,
    /// Add a peer and connect to it
    Add {
        /// What `polypeer ticket` printed on the other node
        ticket: Ticket,
    },
    /// Measure the round-trip time to a peer
    Ping {
        /// Node id or ticket
        peer: Peer,
    },
    /// Disconnect a peer and refuse it until it is unblocked
    Block {
        /// Node id or ticket
        peer: Peer,
    },
    /// Remove a block, and lift a ban for misbehaviour
    Unblock {
        /// Node id or ticket
        peer: Peer,
    },
    /// Keep a peer connected: dial it first, never disconnect it in favour of another
    Protect {
        /// Node id or ticket
        peer: Peer,
    },
    /// Remove the protection of a peer
    Unprotect {
        /// Node id or ticket
        peer: Peer,
    },
    /// Disconnect a peer and delete what is stored about it
    Forget {
        /// Node id or ticket
        peer: Peer,
    },
}

impl Peers {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command.unwrap_or(Command::List) {
            Command::List => list(context).await,
            Command::Add { ticket } => {
                reach(context, AdminRequest::AddPeer { ticket, timeout_ms: REACH_TIME }, "connected to").await
            }
            Command::Ping { peer } => {
                reach(context, AdminRequest::Ping { ticket: peer.0, timeout_ms: REACH_TIME }, "reply from").await
            }
            Command::Block { peer } => {
                change(context, &peer, AdminRequest::Block { node: peer.node() }, "blocked").await
            }
            Command::Unblock { peer } => {
                change(context, &peer, AdminRequest::Unblock { node: peer.node() }, "unblocked").await
            }
            Command::Protect { peer } => {
                change(context, &peer, AdminRequest::Protect { node: peer.node(), protected: true }, "protected").await
            }
            Command::Unprotect { peer } => {
                change(context, &peer, AdminRequest::Protect { node: peer.node(), protected: false }, "unprotected")
                    .await
            }
            Command::Forget { peer } => {
                change(context, &peer, AdminRequest::Forget { node: peer.node() }, "forgot").await
            }
        }
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let peers: Vec<PeerDocument> = match context.ask_netcore(AdminRequest::Peers).await? {
        AdminResponse::Peers(peers) => peers.into_iter().map(PeerDocument::from).collect(),
        other => return Err(unexpected(&other)),
    };
    if peers.is_empty() && !context.printer.json {
        context.printer.say("no peers yet; add one with `polypeer peers add TICKET`");
        return Ok(());
    }
    context.printer.either(&peers, || {
        let headings = ["NODE", "STATE", "PATH", "RTT", "SINCE", "SENT", "RECEIVED", "SCORE", "ADDRESS"];
        context.printer.table(&headings, &peers.iter().map(row).collect::<Vec<_>>())
    })
}

fn row(peer: &PeerDocument) -> Vec<String> {
    vec![
        peer.node_id.to_string(),
        shown_state(peer),
        known(peer.path.as_deref()),
        known(peer.rtt_ms.map(|rtt| format!("{rtt:.1} ms"))),
        known(peer.since_s.map(duration)),
        shown_size(peer.sent_bytes),
        shown_size(peer.received_bytes),
        peer.score.to_string(),
        known(peer.address.as_deref()),
    ]
}

fn shown_state(peer: &PeerDocument) -> String {
    match (peer.banned_s, peer.protected, peer.unverified) {
        (Some(left), ..) => format!("banned for {}", duration(left)),
        (None, true, _) => format!("{}, protected", peer.state),
        (None, false, true) => format!("{}, unverified", peer.state),
        (None, false, false) => peer.state.clone(),
    }
}

async fn reach(context: &Context, request: AdminRequest, verb: &str) -> Result<(), CliError> {
    match context.ask_netcore(request).await? {
        AdminResponse::Pong { node, rtt_us } => {
            let ping = PingDocument { node_id: node, rtt_ms: milliseconds(rtt_us) };
            context.printer.either(&ping, || format!("{verb} {} in {:.1} ms", ping.node_id, ping.rtt_ms))
        }
        other => Err(unexpected(&other)),
    }
}

async fn change(context: &Context, peer: &Peer, request: AdminRequest, verb: &str) -> Result<(), CliError> {
    match context.ask_netcore(request).await? {
        AdminResponse::Done if context.printer.json => context.printer.document(&json!({ "node_id": peer.node() })),
        AdminResponse::Done => {
            context.printer.say(format!("{verb} {}", peer.node()));
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}
