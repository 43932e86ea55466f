//! `polypeer plugin grants`: what a plugin is allowed, which peers it communicates with, and its list of peers.

use clap::{Args, ValueEnum};
use polypeer_ipc_protocol::ids::{NodeId, PluginId};

use super::super::Context;
use super::super::peer::PeerArgument;
use super::{ask, bullets};
use crate::cli_error::CliError;
use crate::control::Request;

/// Show what a plugin is allowed, or change the peers that it communicates with
#[derive(Debug, Args)]
pub(super) struct Grants {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
    /// Which peers it communicates with: any, as its manifest asks, or only those on its list
    #[arg(long, value_name = "any|list", value_enum, hide_possible_values = true)]
    peers: Option<Scope>,
    /// Add a peer to its list
    #[arg(long, value_name = "PEER")]
    add_peer: Vec<PeerArgument>,
    /// Remove a peer from its list
    #[arg(long, value_name = "PEER")]
    remove_peer: Vec<PeerArgument>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    Any,
    List,
}

impl Grants {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let listed_only = self.peers.map(|scope| scope == Scope::List);
        let (add, remove) = (nodes(context, self.add_peer).await?, nodes(context, self.remove_peer).await?);
        let request = Request::PluginPeers { id: self.id, listed_only, add, remove };
        let plugin = ask(context, request).await?;
        context.printer.either(&plugin.grants, || bullets(&plugin.grants.in_words))
    }
}

async fn nodes(context: &Context, peers: Vec<PeerArgument>) -> Result<Vec<NodeId>, CliError> {
    let mut nodes = Vec::with_capacity(peers.len());
    for peer in peers {
        nodes.push(peer.resolve_other(context).await?.node());
    }
    Ok(nodes)
}
