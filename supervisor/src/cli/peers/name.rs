//! `polypeer peers name`: gives a peer a name that only this node knows, or removes it.

use clap::Args;
use serde_json::json;

use super::super::peer::PeerArgument;
use super::super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::{Answer, Request};
use crate::petname::Petname;

/// Give a peer a name of your own; every command takes it in place of the id
#[derive(Debug, Args)]
#[command(after_help = "The name stays on this node.")]
pub(in crate::cli) struct Name {
    /// Peer: its node id or the start of it, its present name, or its ticket
    peer: PeerArgument,
    /// New name: 1 to 40 of a-z, 0-9 and '-'
    #[arg(required_unless_present = "remove")]
    name: Option<Petname>,
    /// Remove the name that the peer has
    #[arg(long, conflicts_with = "name")]
    remove: bool,
}

impl Name {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = self.peer.resolve_other(context).await?;
        let node = peer.node();
        match context.ask(Request::PeerName { node, name: self.name.clone() }).await? {
            Answer::Done => {}
            other => return Err(unexpected(&other)),
        }
        if context.printer.json {
            return context.printer.document(&json!({ "node_id": node, "name": self.name }));
        }
        context.printer.say(match (&self.name, &peer.name) {
            (Some(name), Some(before)) if before != name => format!("{node} is now {name}; it was {before}"),
            (Some(name), _) => format!("{node} is now {name}"),
            (None, Some(before)) => format!("{node} is no longer {before}"),
            (None, None) => format!("{node} has no name"),
        });
        Ok(())
    }
}
