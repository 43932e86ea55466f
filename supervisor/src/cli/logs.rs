//! `polypeer logs`: the log of the daemon and of the network core. Read from its files, so that it needs no daemon and
//! tells why one ended.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::cli_error::CliError;
use crate::log_files;
use crate::output::clean;
use crate::reader;

/// Show the log of the daemon and of the network core
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Continue with new lines as they are written
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,
    /// Only the network core's lines
    #[arg(long)]
    netcore: bool,
    /// Number of latest lines to show
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    lines: u32,
}

impl Logs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let home = &context.home;
        let path = if self.netcore { home.netcore_log() } else { home.daemon_log() };
        let told = |error: std::io::Error| {
            CliError::failed(
                format!("failed to read {}: {error}", path.display()),
                "run it as the user who runs the daemon, and check the folder logs/ of the home",
            )
        };
        let (lines, mut follower) = log_files::latest(&path, self.lines as usize).map_err(told)?;
        if lines.is_empty() && !self.follow && !path.exists() {
            context.printer.say(format!("no log yet: no daemon has run on {}", home.root().display()));
        }
        if context.printer.json {
            let lines: Vec<Value> = lines.iter().map(|line| parsed(line, self.netcore)).collect();
            return context.printer.document(&json!({ "lines": lines }));
        }
        lines.iter().try_for_each(|line| context.printer.data(&clean(line)))?;
        let follow = async {
            loop {
                let lines = follower.wait().await.map_err(told)?;
                lines.iter().try_for_each(|line| context.printer.data(&clean(line)))?;
            }
        };
        if !self.follow {
            return Ok(());
        }
        tokio::select! {
            ended = follow => ended,
            () = reader::gone() => Ok(()),
        }
    }
}

/// A line `TIME LEVEL MESSAGE` as an object. The network core's lines are marked in the daemon's log, and all are its
/// own in its own log.
fn parsed(line: &str, is_netcore: bool) -> Value {
    let (time, rest) = line.split_once(' ').unwrap_or(("", line));
    let (level, rest) = rest.split_once(' ').unwrap_or(("", rest));
    let message = rest.trim_start();
    let target = message.split_once(": ").map(|(target, _)| target).filter(|target| {
        ["daemon", "netcore"]
            .iter()
            .any(|part| target.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
    });
    let message = target.map_or(message, |target| &message[target.len() + 2..]);
    let usual = if is_netcore { "netcore" } else { "daemon" };
    json!({ "time": time, "level": level.to_lowercase(), "target": target.unwrap_or(usual), "message": message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_objects() {
        let object = |time: &str, level: &str, target: &str, message: &str| json!({ "time": time, "level": level, "target": target, "message": message });
        for (line, netcore, expected) in [
            ("T INFO  plugin chat: ready", false, object("T", "info", "daemon", "plugin chat: ready")),
            ("T WARN  netcore: odd: x", false, object("T", "warn", "netcore", "odd: x")),
            ("T DEBUG netcore::peers: x", false, object("T", "debug", "netcore::peers", "x")),
            ("T WARN  odd: x", true, object("T", "warn", "netcore", "odd: x")),
            ("cut", false, object("", "", "daemon", "cut")),
        ] {
            assert_eq!(parsed(line, netcore), expected, "{line}");
        }
    }
}
