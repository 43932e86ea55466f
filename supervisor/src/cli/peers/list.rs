//! `polypeer peers list`: a table of the peers.

use clap::Args;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};

use super::super::peer::known_peers;
use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::PeerDocument;
use crate::control::known::KnownPeers;
use crate::manifest::values::shown_size;
use crate::output::{duration, known};

/// List connected, known, named and blocked peers [default]
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct List {}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let names = known_peers(context).await?;
        let mut peers: Vec<PeerDocument> = match context.ask_netcore(AdminRequest::Peers).await? {
            AdminResponse::Peers(peers) => peers.into_iter().map(PeerDocument::from).collect(),
            other => return Err(unexpected(&other)),
        };
        add_names(&mut peers, &names);
        if peers.is_empty() && !context.printer.json {
            context.printer.say("no peers yet; add one with `polypeer peers add TICKET`");
            return Ok(());
        }
        context.printer.either(&peers, || {
            let headings = ["NODE", "STATE", "PATH", "RTT", "SINCE", "SENT", "RECEIVED", "SCORE", "ADDRESS", "NAME"];
            context.printer.table(&headings, &peers.iter().map(row).collect::<Vec<_>>())
        })
    }
}

/// Adds the operator's names, and those named peers that netcore does not know.
fn add_names(peers: &mut Vec<PeerDocument>, names: &KnownPeers) {
    for peer in &mut *peers {
        peer.name = names.name(&peer.node_id).cloned();
    }
    let listed: std::collections::HashSet<_> = peers.iter().map(|peer| peer.node_id).collect();
    let others = names.names.iter().filter(|(node, _)| !listed.contains(node));
    peers.extend(others.map(|(node, name)| PeerDocument::of_name(*node, name.clone())));
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
        known(peer.name.as_ref()),
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
