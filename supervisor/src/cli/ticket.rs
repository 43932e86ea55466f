//! `polypeer ticket`: the ticket of this node, for other nodes to dial.

use std::net::SocketAddr;

use clap::Args;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use serde_json::json;

use super::{Context, id, unexpected};
use crate::cli_error::{CliError, Exit};

/// Print this node's ticket, which others need to connect to it
#[derive(Debug, Args)]
pub(super) struct Ticket {}

impl Ticket {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let answer = match context.ask_netcore(AdminRequest::Ticket).await {
            Err(error) if error.exit == Exit::NotRunning => return Err(without_daemon(context, error)),
            answer => answer?,
        };
        match answer {
            AdminResponse::Ticket(ticket) => {
                context.printer.either(&json!({ "ticket": ticket }), || ticket.to_string())?;
                if let Some(warning) = warning(&ticket) {
                    context.printer.say(format!("warning: {warning}"));
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The error without a daemon, which says what the key alone can: the node id.
fn without_daemon(context: &Context, error: CliError) -> CliError {
    let Ok(id) = id::of_key(&context.home, error.clone()) else { return error };
    let message =
        format!("{}, and a ticket names the addresses that it listens on; the node id is {id}", error.message);
    CliError { message, ..error }
}

/// Why nobody on another machine can use a ticket, if that is so.
fn warning(ticket: &polypeer_ipc_protocol::ticket::Ticket) -> Option<&'static str> {
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    (!ticket.addresses.is_empty() && ticket.addresses.iter().all(is_loopback)).then_some(
        "this node listens on loopback only, so nodes on other machines cannot use its ticket; to be reached by them, \
         start it without --listen, or with other addresses",
    )
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ids::NodeId;
    use polypeer_ipc_protocol::ticket::Ticket;

    use super::warning;

    #[test]
    fn ticket_with_loopback_addresses_only_has_a_warning() {
        let ticket = |addresses: &[&str]| Ticket {
            node: NodeId([1; 32]),
            addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        };
        assert!(warning(&ticket(&["127.0.0.1:7470", "[::1]:7470"])).is_some());
        assert_eq!(warning(&ticket(&["127.0.0.1:7470", "192.168.1.2:7470"])), None);
        assert_eq!(warning(&ticket(&[])), None, "nothing is known of where it listens");
    }
}
