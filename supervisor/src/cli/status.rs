//! `polypeer status`: whether all is well, then the node, its network core, peers, sources, traffic and plugins.

use clap::Args;

use super::peer::known_peers;
use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::{OffenderDocument, ProblemDocument, SourceDocument, StatusDocument};
use crate::control::known::KnownPeers;
use crate::control::{Answer, Request};
use crate::manifest::values::shown_size;
use crate::output::{Printer, clean, duration, known, style};

/// Offenders shown as text; `--json` has all of them.
const OFFENDERS_SHOWN: usize = 5;

/// Show node status: in the first line whether all is well, and if not, what to do
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Do not break lines to fit the terminal, and show whole node ids
    #[arg(short, long)]
    wide: bool,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let status = match context.ask(Request::Status).await? {
            Answer::Status(status) => status,
            other => return Err(unexpected(&other)),
        };
        let printer = context.printer.wide(self.wide);
        if printer.json {
            return printer.document(&status);
        }
        let names = match status.offenders.is_empty() {
            true => None,
            false => known_peers(context).await.ok(),
        };
        let home = context.home.root().display().to_string();
        let summary = printer.wrapped(&printer.hint(&summary(&printer, &status)), 0);
        printer.data(&format!("{summary}\n{}", details(&printer, &status, home, names.as_ref())))
    }
}

/// The first line.
fn summary(printer: &Printer, status: &StatusDocument) -> String {
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match &status.problems[..] {
        [] => {
            let well = printer.paint(style::GOOD, "all is well");
            let ready = status.plugins.iter().filter(|plugin| plugin.state == "ready").count() as u64;
            match status.peers.as_ref().map_or(0, |peers| peers.connected) {
                0 => format!("{well}, but no peer is connected yet; add one with `polypeer peers add TICKET`"),
                peers => {
                    format!("{well}: {} connected, {} ready", counted(peers, "peer"), counted(ready, "plugin"))
                }
            }
        }
        [first, others @ ..] => {
            let count = printer.paint(style::BAD, &counted(status.problems.len() as u64, "problem"));
            let first = problem_line(first);
            match others.len() {
                0 => format!("{count}: {first}"),
                _ => format!("{count}, the first: {first}"),
            }
        }
    }
}

fn details(printer: &Printer, status: &StatusDocument, home: String, names: Option<&KnownPeers>) -> String {
    let peers = status.peers.as_ref();
    let mut pairs = Vec::new();
    if status.problems.len() > 1 {
        pairs.push(("problems", printer.hint(&lines(status.problems.iter().map(problem_line)))));
    }
    pairs.extend([
        ("node", known(status.node_id)),
        ("home", home),
        ("version", status.version.clone()),
        ("uptime", duration(status.uptime_s)),
        ("network core", netcore(printer, status)),
        ("listens on", status.listen.as_ref().map_or_else(|| "-".into(), |listen| listen.join("\n"))),
        ("reach", printer.state(&status.reach)),
        (
            "peers",
            peers.map_or_else(|| "-".into(), |peers| format!("{} connected, {} known", peers.connected, peers.known)),
        ),
    ]);
    if let Some(sources) = &status.sources {
        pairs.push(("sources", lines(sources.iter().map(|source| source_line(printer, source)))));
    }
    if let Some(traffic) = &status.traffic {
        let text = format!("{} sent, {} received", shown_size(traffic.sent_bytes), shown_size(traffic.received_bytes));
        pairs.push(("traffic", text));
    }
    let plugins = status.plugins.iter().map(|plugin| format!("{}: {}", plugin.id, printer.state(&plugin.state)));
    pairs.push(("plugins", if status.plugins.is_empty() { "none".into() } else { lines(plugins) }));
    if !status.offenders.is_empty() {
        let shown = status.offenders.iter().take(OFFENDERS_SHOWN);
        pairs.push(("offenders", lines(shown.map(|offender| offender_line(printer, offender, names)))));
    }
    // The others are problems.
    let mut warnings = status.warnings.iter().filter(|text| *text == crate::daemon::SEED_ONLY).peekable();
    if warnings.peek().is_some() {
        pairs.push(("warnings", lines(warnings.map(|text| clean(text)))));
    }
    printer.pairs(&pairs)
}

fn problem_line(problem: &ProblemDocument) -> String {
    format!("{}; {}", clean(&problem.problem), clean(&problem.remedy))
}

fn netcore(printer: &Printer, status: &StatusDocument) -> String {
    let netcore = &status.netcore;
    let mut text = printer.state(&netcore.state);
    if let Some(pid) = netcore.pid {
        text += &format!(", pid {pid}");
    }
    if let Some(bytes) = netcore.rss_bytes {
        text += &format!(", {}", shown_size(bytes));
    }
    match netcore.restarts {
        0 => {}
        1 => text += ", restarted once",
        many => text += &format!(", restarted {many} times"),
    }
    text
}

fn source_line(printer: &Printer, source: &SourceDocument) -> String {
    let mut line = format!("{}: {}", source.name, printer.state(&source.state));
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
}

fn offender_line(printer: &Printer, offender: &OffenderDocument, names: Option<&KnownPeers>) -> String {
    let who = match (&offender.node_id, names) {
        (Some(node), Some(names)) if printer.width().is_some() => names.shown_short(node),
        (Some(node), Some(names)) => names.shown(node),
        (Some(node), None) => node.to_string(),
        (None, _) => known(offender.address.as_deref()),
    };
    let ago = duration(offender.ago_s);
    format!("{who}: {}, {} times, {ago} ago", clean(&offender.reason), offender.count)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}
