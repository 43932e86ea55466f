//! `polypeer plugin list`: a table of the installed plugins.

use clap::Args;

use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::{Leftover, PluginLine};
use crate::control::{Answer, Request};
use crate::manifest::values::shown_size;
use crate::output::{Column, known};

const COLUMNS: [Column; 7] = [
    Column::kept("ID"),
    Column::dropped("VERSION", 2),
    Column::state("STATE"),
    Column::dropped("ENABLED", 1),
    Column::dropped("PID", 4),
    Column::dropped("RESTARTS", 3),
    Column::dropped("MEMORY", 1),
];

/// List installed plugins
#[derive(Debug, Args)]
pub(super) struct List {
    /// List what removed plugins left behind instead
    #[arg(long)]
    removed: bool,
    /// Show every column, however wide the terminal is
    #[arg(short, long)]
    wide: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        if self.removed {
            return removed(context).await;
        }
        let plugins = match context.ask(Request::PluginList).await? {
            Answer::Plugins(plugins) => plugins,
            other => return Err(unexpected(&other)),
        };
        if plugins.is_empty() && !context.printer.json {
            context.printer.say("no plugins; install one with `polypeer plugin install FOLDER`");
            return Ok(());
        }
        context.printer.either(&plugins, || {
            let row = |plugin: &PluginLine| {
                let enabled = if plugin.enabled { "yes" } else { "no" };
                vec![
                    plugin.id.to_string(),
                    format!("{}{}", plugin.version, if plugin.linked { " (linked)" } else { "" }),
                    plugin.state.clone(),
                    enabled.into(),
                    known(plugin.pid),
                    plugin.restarts.to_string(),
                    known(plugin.memory_bytes.map(shown_size)),
                ]
            };
            context.printer.wide(self.wide).table(&COLUMNS, &plugins.iter().map(row).collect::<Vec<_>>())
        })
    }
}

async fn removed(context: &Context) -> Result<(), CliError> {
    let left = match context.ask(Request::PluginLeftovers).await? {
        Answer::Leftovers(left) => left,
        other => return Err(unexpected(&other)),
    };
    if left.is_empty() && !context.printer.json {
        context.printer.say("removed plugins left nothing behind");
        return Ok(());
    }
    context.printer.either(&left, || {
        let row = |one: &Leftover| vec![one.id.to_string(), shown_size(one.data_bytes), shown_size(one.log_bytes)];
        context.printer.table(&["ID", "DATA", "LOG"], &left.iter().map(row).collect::<Vec<_>>())
    })?;
    context.printer.say("delete what one left with `polypeer plugin remove ID --data`");
    Ok(())
}
