//! `polypeer plugin list`: a table of the installed plugins.

use clap::Args;

use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::documents::PluginLine;
use crate::control::{Answer, Request};
use crate::manifest::values::shown_size;
use crate::output::known;

/// List installed plugins
#[derive(Debug, Args)]
pub(super) struct List {}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let plugins = match context.ask(Request::PluginList).await? {
            Answer::Plugins(plugins) => plugins,
            other => return Err(unexpected(&other)),
        };
        if plugins.is_empty() && !context.printer.json {
            context.printer.say("no plugins; install one with `polypeer plugin install FOLDER`");
            return Ok(());
        }
        context.printer.either(&plugins, || {
            let headings = ["ID", "VERSION", "STATE", "ENABLED", "PID", "RESTARTS", "MEMORY"];
            let row = |plugin: &PluginLine| {
                let enabled = if plugin.enabled { "yes" } else { "no" };
                vec![
                    plugin.id.to_string(),
                    plugin.version.clone(),
                    plugin.state.clone(),
                    enabled.into(),
                    known(plugin.pid),
                    plugin.restarts.to_string(),
                    known(plugin.memory_bytes.map(shown_size)),
                ]
            };
            context.printer.table(&headings, &plugins.iter().map(row).collect::<Vec<_>>())
        })
    }
}
