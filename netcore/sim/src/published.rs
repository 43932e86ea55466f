//! What the nodes of a world have published: the material of measured lookups and deliveries.

use polypeer_engine::dht::{Key, Record};
use polypeer_ipc_protocol::ids::{Hash, Name};

use crate::index::NodeIndex;
use crate::queue::Micros;

/// Records, provided names, topics and messages of a run.
#[derive(Debug, Default)]
pub struct Published {
    /// Each with whether lookups may ask for it.
    pub(crate) records: Vec<(Record, bool)>,
    /// Each with its provider and whether a node stored it.
    pub(crate) provided: Vec<(Key, NodeIndex, bool)>,
    /// Topics, largest first.
    pub(crate) topics: Vec<Name>,
    /// Cumulative weights of the topics, in the same order.
    pub(crate) shares: Vec<f64>,
    /// Subscribers of each topic with the time of subscription; includes nodes that have left.
    pub(crate) subscribers: Vec<Vec<(NodeIndex, Micros)>>,
    pub(crate) messages: Vec<Sent>,
}

/// A published message; `topic` indexes [`Published::topics`].
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) id: Hash,
    pub(crate) topic: usize,
    pub(crate) by: NodeIndex,
    pub(crate) at: Micros,
}
