//! `polypeer shutdown`: stops the daemon, and returns when it has ended.

use clap::Args;
use serde_json::json;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};

/// Stop the daemon and all plugins
#[derive(Debug, Args)]
pub(super) struct Shutdown {}

impl Shutdown {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let mut control = context.control().await?;
        match control.request(&Request::Shutdown).await? {
            Answer::Done => {
                control.ended().await;
                if context.printer.json {
                    return context.printer.document(&json!({ "stopped": true }));
                }
                context.printer.say("the daemon has stopped");
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}
