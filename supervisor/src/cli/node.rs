//! Commands about the node and its peers.

use serde_json::json;

use super::args::{Peer, Peers};
use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::{PeerDocument, StatusDocument};
use crate::control::{Answer, Request};
use crate::manifest::values::shown_size;
use crate::output::{clean, duration, known};

/// How long `peers add` and `peers ping` may take, milliseconds.
const REACH_TIME: u32 = 20_000;

pub(super) async fn status(context: &Context) -> Result<(), CliError> {
    match context.ask(Request::Status).await? {
        Answer::Status(status) => context.printer.either(&status, || status_text(context, &status)),
        other => Err(unexpected(&other)),
    }
}

fn status_text(context: &Context, status: &StatusDocument) -> String {
    let netcore = &status.netcore;
    let mut core = netcore.state.clone();
    if let Some(pid) = netcore.pid {
        core += &format!(", pid {pid}");
    }
    if let Some(bytes) = netcore.rss_bytes {
        core += &format!(", {}", shown_size(bytes));
    }
    match netcore.restarts {
        0 => {}
        1 => core += ", restarted once",
        many => core += &format!(", restarted {many} times"),
    }
    let peers = status.peers.as_ref();
    let mut pairs = vec![
        ("node", known(status.node_id)),
        ("home", context.home.root().display().to_string()),
        ("version", status.version.clone()),
        ("running for", duration(status.uptime_s)),
        ("network core", core),
        ("listens on", status.listen.as_ref().map_or_else(|| "-".into(), |listen| listen.join("\n"))),
        ("reach", status.reach.clone()),
        (
            "peers",
            peers.map_or_else(|| "-".into(), |peers| format!("{} connected, {} known", peers.connected, peers.known)),
        ),
    ];
    if let Some(sources) = &status.sources {
        let lines = sources.iter().map(|source| {
            let mut line = format!("{}: {}", source.name, source.state);
            if source.enabled {
                line += &format!(", {} found", source.found);
            }
            if let Some(seconds) = source.last_success_s {
                line += &format!(", last {} ago", duration(seconds));
            }
            if let Some(problem) = &source.problem {
                line += &format!("; {}", clean(problem));
            }
            line
        });
        pairs.push(("sources", lines.collect::<Vec<_>>().join("\n")));
    }
    if let Some(traffic) = &status.traffic {
        let text = format!("{} sent, {} received", shown_size(traffic.sent_bytes), shown_size(traffic.received_bytes));
        pairs.push(("traffic", text));
    }
    let plugins: Vec<_> = status.plugins.iter().map(|plugin| format!("{}: {}", plugin.id, plugin.state)).collect();
    pairs.push(("plugins", if plugins.is_empty() { "none".into() } else { plugins.join("\n") }));
    if !status.offenders.is_empty() {
        let lines = status.offenders.iter().take(OFFENDERS_SHOWN).map(|offender| {
            let who = offender.node_id.map_or_else(|| known(offender.address.as_deref()), |node| node.to_string());
            let ago = duration(offender.ago_s);
            format!("{who}: {}, {} times, {ago} ago", clean(&offender.reason), offender.count)
        });
        pairs.push(("offenders", lines.collect::<Vec<_>>().join("\n")));
    }
    if !status.warnings.is_empty() {
        pairs.push(("warnings", status.warnings.iter().map(|text| clean(text)).collect::<Vec<_>>().join("\n")));
    }
    context.printer.pairs(&pairs)
}

/// Offenders in `status`; all are in `--json`.
const OFFENDERS_SHOWN: usize = 5;

pub(super) async fn id(context: &Context) -> Result<(), CliError> {
    match context.ask(Request::Id).await? {
        Answer::Text(id) => context.printer.either(&json!({ "node_id": id }), || id.clone()),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn ticket(context: &Context) -> Result<(), CliError> {
    match context.ask(Request::Ticket).await? {
        Answer::Text(ticket) => context.printer.either(&json!({ "ticket": ticket }), || ticket.clone()),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn peers(context: &Context, command: Option<Peers>) -> Result<(), CliError> {
    match command.unwrap_or(Peers::List) {
        Peers::List => list(context).await,
        Peers::Add { ticket } => {
            reach(context, Request::AddPeer { ticket, timeout_ms: REACH_TIME }, "connected to").await
        }
        Peers::Ping { peer } => {
            reach(context, Request::Ping { ticket: peer.0, timeout_ms: REACH_TIME }, "answer from").await
        }
        Peers::Block { peer } => change(context, &peer, Request::Block { node: peer.node() }, "blocked").await,
        Peers::Unblock { peer } => change(context, &peer, Request::Unblock { node: peer.node() }, "unblocked").await,
        Peers::Protect { peer } => {
            change(context, &peer, Request::Protect { node: peer.node(), protected: true }, "protected").await
        }
        Peers::Unprotect { peer } => {
            change(context, &peer, Request::Protect { node: peer.node(), protected: false }, "unprotected").await
        }
        Peers::Forget { peer } => change(context, &peer, Request::Forget { node: peer.node() }, "forgot").await,
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let peers = match context.ask(Request::Peers).await? {
        Answer::Peers(peers) => peers,
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

async fn reach(context: &Context, request: Request, verb: &str) -> Result<(), CliError> {
    match context.ask(request).await? {
        Answer::Ping(ping) => {
            context.printer.either(&ping, || format!("{verb} {} in {:.1} ms", ping.node_id, ping.rtt_ms))
        }
        other => Err(unexpected(&other)),
    }
}

async fn change(context: &Context, peer: &Peer, request: Request, verb: &str) -> Result<(), CliError> {
    match context.ask(request).await? {
        Answer::Done if context.printer.json => context.printer.document(&json!({ "node_id": peer.node() })),
        Answer::Done => {
            context.printer.say(format!("{verb} {}", peer.node()));
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn shutdown(context: &Context) -> Result<(), CliError> {
    let mut control = context.control().await?;
    match control.request(&Request::Shutdown).await? {
        Answer::Done => {
            control.ended().await;
            if context.printer.json {
                return context.printer.document(&json!({ "stopped": true }));
            }
            context.printer.say("the daemon has stopped");
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}
