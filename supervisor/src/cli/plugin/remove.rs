//! `polypeer plugin remove`: uninstalls a plugin, and deletes its data and its log if asked to.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;
use serde_json::json;

use super::super::{Context, unexpected};
use super::{answer, confirm};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};
use crate::daemon::bundle;
use crate::manifest::values::shown_size;

/// Uninstall a plugin; its data and its log are kept
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
    /// Delete its data and its log too, also those of a plugin removed before
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
            true => format!("Remove {id} and delete its data and its log?"),
            false => format!("Remove {id}? Its data and its log are kept."),
        };
        confirm(context, yes, &question)?;
        match answer(context, Request::PluginRemove { id: id.clone(), data }).await? {
            Answer::Leftovers(left) if context.printer.json => {
                context.printer.document(&json!({ "id": id, "removed": true, "left": left }))
            }
            Answer::Leftovers(left) => {
                context.printer.say(format!("removed {id}"));
                if let Some(left) = left.first() {
                    context.printer.say(format!(
                        "its data ({}) and its log ({}) are kept; delete them with `polypeer plugin remove {id} --data`",
                        shown_size(left.data_bytes),
                        shown_size(left.log_bytes)
                    ));
                }
                if bundle::folder(id.as_str()).is_some() {
                    context.printer.say(format!("`polypeer plugin install {id}` installs the bundled app again"));
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}
