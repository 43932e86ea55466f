//! `polypeer plugin remove`: uninstalls a plugin, and deletes its data if asked to.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;
use serde_json::json;

use super::super::{Context, unexpected};
use super::confirm;
use crate::cli_error::CliError;
use crate::control::{Answer, Request};

/// Uninstall a plugin; its data is kept
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Plugin id
    id: PluginId,
    /// Delete its data too
    #[arg(long)]
    data: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self { id, data, yes } = self;
        let question = match data {
            true => format!("Remove {id} and delete its data?"),
            false => format!("Remove {id}? Its data is kept."),
        };
        confirm(context, yes, &question)?;
        match context.ask(Request::PluginRemove { id: id.clone(), data }).await? {
            Answer::Done if context.printer.json => context.printer.document(&json!({ "id": id, "removed": true })),
            Answer::Done => {
                context.printer.say(format!("removed {id}"));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}
