//! `polypeer reload`: makes the daemon read `config.toml` again, as SIGHUP does.

use clap::Args;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};
use crate::daemon::settings::in_words;

/// Read config.toml again; says which keys need a restart of the daemon
#[derive(Debug, Args)]
pub(super) struct Reload {}

impl Reload {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match context.ask(Request::Reload).await? {
            Answer::Reloaded(told) => {
                for warning in &told.warnings {
                    context.printer.say(format!("warning: {warning}"));
                }
                context.printer.either(&told, || in_words(&told))
            }
            other => Err(unexpected(&other)),
        }
    }
}
