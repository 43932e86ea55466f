//! `polypeer ticket`: the ticket of this node, for other nodes to dial.

use clap::Args;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use serde_json::json;

use super::{Context, unexpected};
use crate::cli_error::CliError;

/// Print this node's ticket, which others need to connect to it
#[derive(Debug, Args)]
pub(super) struct Ticket {}

impl Ticket {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match context.ask_netcore(AdminRequest::Ticket).await? {
            AdminResponse::Ticket(ticket) => {
                context.printer.either(&json!({ "ticket": ticket }), || ticket.to_string())
            }
            other => Err(unexpected(&other)),
        }
    }
}
