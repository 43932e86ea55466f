//! `polypeer plugin logs`: what a plugin wrote to stdout and stderr.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;
use serde_json::json;

use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};
use crate::output::clean;
use crate::reader;

/// Show the output of a plugin
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
    /// Continue with new lines as they are written
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,
    /// Number of latest lines to show
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    lines: u32,
}

impl Logs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let request = Request::PluginLogs { id: self.id, lines: self.lines, follow: self.follow };
        let mut control = context.control().await?;
        let mut answer = control.request(&request).await?;
        let mut lines = Vec::new();
        let mut gone = std::pin::pin!(reader::gone());
        loop {
            match answer {
                Answer::Line(line) if context.printer.json => lines.push(line),
                Answer::Line(line) => context.printer.data(&clean(&line))?,
                Answer::Progress(text) => context.printer.say(clean(&text)),
                Answer::Done if context.printer.json => return context.printer.document(&json!({ "lines": lines })),
                Answer::Done => return Ok(()),
                other => return Err(unexpected(&other)),
            }
            answer = tokio::select! {
                next = control.next() => next?,
                () = &mut gone, if self.follow => return Ok(()),
            };
        }
    }
}
