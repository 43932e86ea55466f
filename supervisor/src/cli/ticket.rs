//! `polypeer ticket`: the ticket of this node, for other nodes to dial.

use clap::Args;
use serde_json::json;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};

/// Print this node's ticket, which others need to connect to it
#[derive(Debug, Args)]
pub(super) struct Ticket {}

impl Ticket {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match context.ask(Request::Ticket).await? {
            Answer::Text(ticket) => context.printer.either(&json!({ "ticket": ticket }), || ticket.clone()),
            other => Err(unexpected(&other)),
        }
    }
}
