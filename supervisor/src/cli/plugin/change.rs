//! `polypeer plugin start|stop|restart|enable|disable`: a request with a plugin's id; prints the state afterwards.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;

use super::super::Context;
use super::{ask, print_state};
use crate::cli_error::CliError;
use crate::control::Request;
use crate::output::clean;

#[derive(Debug, Args)]
pub(super) struct Id {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
}

impl Id {
    pub(super) async fn change(
        self,
        context: &Context,
        request: impl FnOnce(PluginId) -> Request,
    ) -> Result<(), CliError> {
        let plugin = ask(context, request(self.id)).await?;
        print_state(context, &plugin)?;
        for warning in &plugin.warnings {
            context.printer.say(format!("note: {}", clean(warning)));
        }
        Ok(())
    }

    pub(super) async fn enable(self, context: &Context, enabled: bool) -> Result<(), CliError> {
        let (request, what): (fn(PluginId) -> Request, _) = match enabled {
            true => (|id| Request::PluginEnable { id }, "enabled"),
            false => (|id| Request::PluginDisable { id }, "disabled"),
        };
        let plugin = ask(context, request(self.id)).await?;
        if context.printer.json {
            return context.printer.document(&plugin);
        }
        context.printer.say(format!("{} is {what} and {}", plugin.id, plugin.state));
        Ok(())
    }
}
