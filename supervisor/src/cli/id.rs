//! `polypeer id`: the node id.

use clap::Args;
use serde_json::json;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};

/// Print this node's id
#[derive(Debug, Args)]
pub(super) struct Id {}

impl Id {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match context.ask(Request::Id).await? {
            Answer::Text(id) => context.printer.either(&json!({ "node_id": id }), || id.clone()),
            other => Err(unexpected(&other)),
        }
    }
}
