//! `polypeer doctor`: problems, each with a remedy. Checks without a daemon are made here; the daemon adds its own, and
//! netcore what it knows about a peer.

use clap::Args;

use super::peer::{Peer, PeerArgument};
use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::config::DaemonConfig;
use crate::control::documents::{Check, DoctorDocument, Verdict};
use crate::control::{Answer, Request};
use crate::daemon::checks;
use crate::output::clean;

/// Check the installation, the daemon and the network, and say how to fix what is wrong
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Explain also why this peer may be unreachable: its name, node id or the start of it, or ticket
    peer: Option<PeerArgument>,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = match self.peer {
            Some(peer) => Some(peer.resolve_other(context).await?),
            None => None,
        };
        let mut found = DoctorDocument { checks: checks::of_home(&context.home), ..Default::default() };
        found.checks.push(match DaemonConfig::load(&context.home) {
            Ok(_) => checks::ok("configuration", "valid"),
            Err(error) => checks::problem("configuration", error.to_string(), error.hint()),
        });
        let node = peer.as_ref().map(Peer::node);
        match context.ask(Request::Doctor { peer: node }).await {
            Ok(Answer::Doctor(theirs)) => {
                found.checks.push(checks::ok("daemon", "running"));
                found.checks.extend(theirs.checks);
                found.causes = theirs.causes;
                found.trace = theirs.trace;
            }
            Ok(other) => return Err(unexpected(&other)),
            Err(error) if error.exit == Exit::NotRunning && peer.is_some() => return Err(error),
            // Before the first run nothing is wrong.
            Err(error) if error.exit == Exit::NotRunning && !context.home.identity_key().exists() => {
                found.checks.push(checks::info("daemon", "does not run yet; `polypeer run` starts it"));
            }
            Err(error) => found.checks.push(checks::problem("daemon", error.message, error.hint)),
        }
        context.printer.either(&found, || context.printer.hint(&text(context, &found, peer.as_ref())))?;
        let problems = found.checks.iter().filter(|check| check.result == Verdict::Problem).count();
        match problems {
            0 => Ok(()),
            1 => Err(CliError::failed("1 problem was found", "follow the remedies above, then run it again")),
            many => Err(CliError::failed(
                format!("{many} problems were found"),
                "follow the remedies above, then run it again",
            )),
        }
    }
}

fn text(context: &Context, found: &DoctorDocument, peer: Option<&Peer>) -> String {
    let width = found.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let line = |check: &Check| {
        let verdict = match check.result {
            Verdict::Ok => "ok     ",
            Verdict::Info => "info   ",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
        };
        let verdict = context.printer.state(verdict);
        let wrapped = |text: &str, indent| context.printer.wrapped(&clean(text), indent);
        let remedy =
            check.remedy.as_ref().map(|remedy| format!("\n{:9}-> {}", "", wrapped(remedy, 12))).unwrap_or_default();
        format!("{verdict}  {:width$}  {}{remedy}", check.name, wrapped(&check.found, width + 11))
    };
    let mut lines: Vec<String> = found.checks.iter().map(line).collect();
    if let Some(peer) = peer {
        lines.push(String::new());
        lines.push(context.printer.heading(&format!("The peer {}", peer.shown())));
        if found.causes.is_empty() {
            lines.push("no problem is known".into());
        }
        for (number, cause) in found.causes.iter().enumerate() {
            lines.push(format!("{}. {}\n   -> {}", number + 1, clean(&cause.cause), clean(&cause.remedy)));
        }
        lines.extend(found.trace.iter().map(|line| format!("   {}", clean(line))));
    }
    lines.join("\n")
}
