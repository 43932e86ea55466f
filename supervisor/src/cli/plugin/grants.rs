//! `polypeer plugin grants`: what a plugin is allowed, and its list of peers.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;

use super::super::Context;
use super::super::peer::Peer;
use super::{ask, bullets};
use crate::cli_error::CliError;
use crate::control::Request;

/// Show what a plugin is allowed, or change its list of peers
#[derive(Debug, Args)]
pub(super) struct Grants {
    /// Plugin id
    id: PluginId,
    /// Add a peer to its list (for peers = "list")
    #[arg(long, value_name = "PEER")]
    add_peer: Vec<Peer>,
    /// Remove a peer from its list
    #[arg(long, value_name = "PEER")]
    remove_peer: Vec<Peer>,
}

impl Grants {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let nodes = |peers: Vec<Peer>| peers.iter().map(Peer::node).collect();
        let request = Request::PluginPeers { id: self.id, add: nodes(self.add_peer), remove: nodes(self.remove_peer) };
        let plugin = ask(context, request).await?;
        context.printer.either(&plugin.grants, || bullets(&plugin.grants.in_words))
    }
}
