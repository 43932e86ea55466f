//! What this node knows of peers, from netcore and the store, and the operator's names for them.

use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::NodeId;

use super::Daemon;
use crate::cli_error::{CliError, Exit};
use crate::control::known::KnownPeers;
use crate::petname::{self, Petname};
use crate::store::{MAX_PETNAMES, Named};

/// Time limit for netcore to list its peers. Without them, peers are found by name and from the lists of plugins.
const LIST_TIME: Duration = Duration::from_secs(2);

impl Daemon {
    pub(super) async fn known_peers(&self) -> Result<KnownPeers, CliError> {
        let (names, mut nodes) = self.state.with(|store| Ok((store.petnames()?, store.listed_peers()?))).await?;
        let asked = tokio::time::timeout(LIST_TIME, self.supervisor.admin(AdminRequest::Peers)).await;
        if let Ok(Ok(AdminResponse::Peers(peers))) = asked {
            nodes.extend(peers.into_iter().map(|peer| peer.node));
        }
        nodes.extend(names.keys());
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != self.node);
        Ok(KnownPeers { own: self.node, names, nodes })
    }

    pub(super) async fn name_peer(&self, node: NodeId, name: Option<Petname>) -> Result<(), CliError> {
        if node == self.node {
            let message = format!("this is your own node, which is called \"{}\"", petname::LOCAL);
            return Err(CliError::usage(message, "names are for peers; list them with `polypeer peers`"));
        }
        let Some(name) = name else {
            return match self.state.with(move |store| store.unname_peer(&node)).await? {
                true => Ok(()),
                false => Err(CliError::usage(format!("{node} has no name"), "list the names with `polypeer peers`")),
            };
        };
        let wanted = name.clone();
        match self.state.with(move |store| store.name_peer(&node, &wanted)).await? {
            Named::Done => Ok(()),
            Named::Taken(other) => Err(CliError::usage(
                format!("another peer has the name {name}: {other}"),
                format!("choose another name, or first remove that one: `polypeer peers name {name} --remove`"),
            )),
            Named::TooMany => Err(CliError::new(
                Exit::Refused,
                format!("{MAX_PETNAMES} peers have names already, which is the limit"),
                "remove one with `polypeer peers name NAME --remove`",
            )),
        }
    }
}
