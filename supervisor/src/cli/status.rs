//! `polypeer status`: the node, its network core, peers, sources, traffic and plugins.

use clap::Args;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::StatusDocument;
use crate::control::{Answer, Request};
use crate::manifest::values::shown_size;
use crate::output::{clean, duration, known};

/// Offenders shown as text; `--json` has all of them.
const OFFENDERS_SHOWN: usize = 5;

/// Show node status
#[derive(Debug, Args)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match context.ask(Request::Status).await? {
            Answer::Status(status) => context.printer.either(&status, || status_text(context, &status)),
            other => Err(unexpected(&other)),
        }
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
        ("uptime", duration(status.uptime_s)),
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
