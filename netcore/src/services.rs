//! What a node does for its plugins and its peers beyond carrying streams: each is a machine with a driver, started here;
//! the rest of the node talks to their handles.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::identity::Identity;
use crate::node::Node;
use crate::query::Queries;

/// The handles.
#[derive(Debug, Default)]
pub struct Services {
    /// Questions between netcores.
    pub queries: Queries,
}

/// Starts the drivers. They end when the result is dropped.
pub(crate) fn start(_node: &Arc<Node>, _identity: &Arc<Identity>) -> JoinSet<()> {
    JoinSet::new()
}
