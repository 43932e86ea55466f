//! `polypeer peers list`: a table of the peers. On a terminal it fits the width, and peers that are long gone are
//! left out.

use std::collections::HashSet;

use clap::Args;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};

use super::super::peer::known_peers;
use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::PeerDocument;
use crate::control::known::KnownPeers;
use crate::manifest::values::shown_size;
use crate::output::{Column, Printer, duration, known};
use crate::petname;

/// Time after which a terminal no longer shows a known peer, seconds.
const GONE: u64 = 7 * 86_400;
/// The columns on a terminal.
const COLUMNS: [Column; 9] = [
    Column::kept("PEER").cut_to(12),
    Column::state("STATE"),
    Column::dropped("RTT", 2),
    Column::dropped("SINCE", 1),
    Column::dropped("SENT", 4),
    Column::dropped("RECEIVED", 4),
    Column::dropped("SCORE", 6),
    Column::dropped("PATH", 5),
    Column::dropped("ADDRESS", 3),
];
/// The columns of a complete table.
const ALL_COLUMNS: [Column; 10] = [
    Column::kept("NODE"),
    Column::state("STATE"),
    Column::kept("PATH"),
    Column::kept("RTT"),
    Column::kept("SINCE"),
    Column::kept("SENT"),
    Column::kept("RECEIVED"),
    Column::kept("SCORE"),
    Column::kept("ADDRESS"),
    Column::kept("NAME"),
];

/// List connected, known, named and blocked peers [default]
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Show every column and whole node ids, however wide the terminal is
    #[arg(short, long)]
    wide: bool,
    /// Show also peers that were last seen more than 7 days ago
    #[arg(short, long)]
    all: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let names = known_peers(context).await?;
        let mut peers: Vec<PeerDocument> = match context.ask_netcore(AdminRequest::Peers).await? {
            AdminResponse::Peers(peers) => peers.into_iter().map(PeerDocument::from).collect(),
            other => return Err(unexpected(&other)),
        };
        add_names(&mut peers, &names);
        let printer = context.printer.wide(self.wide);
        if printer.json {
            return printer.document(&peers);
        }
        if peers.is_empty() {
            printer.say("no peers yet; add one with `polypeer peers add TICKET`");
            return Ok(());
        }
        if printer.width().is_none() {
            return printer.data(&printer.table(&ALL_COLUMNS, &peers.iter().map(complete_row).collect::<Vec<_>>()));
        }
        let all = peers.len();
        peers.retain(|peer| self.all || !is_long_gone(peer));
        printer.data(&fitted(&printer, &peers))?;
        match all - peers.len() {
            0 => {}
            hidden => printer.say(format!("{hidden} more were last seen over 7 days ago; --all shows them")),
        }
        Ok(())
    }
}

/// Adds the operator's names, and those named peers that netcore does not know.
fn add_names(peers: &mut Vec<PeerDocument>, names: &KnownPeers) {
    for peer in &mut *peers {
        peer.name = names.name(&peer.node_id).cloned();
    }
    let listed: HashSet<_> = peers.iter().map(|peer| peer.node_id).collect();
    let others = names.names.iter().filter(|(node, _)| !listed.contains(node));
    peers.extend(others.map(|(node, name)| PeerDocument::of_name(*node, name.clone())));
}

fn is_long_gone(peer: &PeerDocument) -> bool {
    let is_plain = peer.state == "known" && peer.name.is_none() && !peer.protected && peer.banned_s.is_none();
    is_plain && peer.since_s.is_none_or(|since| since > GONE)
}

fn fitted(printer: &Printer, peers: &[PeerDocument]) -> String {
    let row = |peer: &PeerDocument| {
        vec![
            petname::shown_short(&peer.node_id, peer.name.as_ref()),
            shown_state(peer),
            shown_rtt(peer),
            known(peer.since_s.map(duration)),
            shown_size(peer.sent_bytes),
            shown_size(peer.received_bytes),
            peer.score.to_string(),
            known(peer.path.as_deref()),
            known(peer.address.as_deref()),
        ]
    };
    printer.table(&COLUMNS, &peers.iter().map(row).collect::<Vec<_>>())
}

fn complete_row(peer: &PeerDocument) -> Vec<String> {
    vec![
        peer.node_id.to_string(),
        shown_state(peer),
        known(peer.path.as_deref()),
        shown_rtt(peer),
        known(peer.since_s.map(duration)),
        shown_size(peer.sent_bytes),
        shown_size(peer.received_bytes),
        peer.score.to_string(),
        known(peer.address.as_deref()),
        known(peer.name.as_ref()),
    ]
}

fn shown_rtt(peer: &PeerDocument) -> String {
    known(peer.rtt_ms.map(|rtt| format!("{rtt:.1} ms")))
}

fn shown_state(peer: &PeerDocument) -> String {
    match (peer.banned_s, peer.protected, peer.unverified) {
        (Some(left), ..) => format!("banned for {}", duration(left)),
        (None, true, _) => format!("{}, protected", peer.state),
        (None, false, true) => format!("{}, unverified", peer.state),
        (None, false, false) => peer.state.clone(),
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;

    #[test]
    fn only_known_peers_without_a_name_or_a_word_of_the_operator_are_long_gone() {
        let mut peer = PeerDocument::of_name(NodeId([1; 32]), "ann".parse().expect("a name"));
        peer.state = "known".into();
        peer.since_s = Some(GONE + 1);
        assert!(!is_long_gone(&peer));
        peer.name = None;
        assert!(is_long_gone(&peer));
        peer.protected = true;
        assert!(!is_long_gone(&peer));
    }
}
