//! A measured lookup in progress: its purpose and its cost so far.

use polypeer_engine::dht::Response;

use crate::index::NodeIndex;
use crate::measure::{Cost, Depths};
use crate::queue::Micros;

/// One measured lookup in progress.
pub struct Pending {
    pub(crate) goal: Goal,
    pub(crate) started: Micros,
    /// Messages, handshakes and bytes so far.
    pub(crate) cost: Cost,
    /// The depth at which each node was first named.
    pub(crate) depths: Depths,
    /// The fewest hops after which the result was seen.
    pub(crate) found_at: Option<u32>,
}

/// The purpose of a lookup. Numbers index [`crate::published::Published`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    Locate(NodeIndex),
    Victim(NodeIndex),
    Across(NodeIndex),
    Put(usize),
    Get(usize),
    Provide(usize),
    Providers(usize),
}

impl Pending {
    /// Notes the response of a node at `depth`.
    pub(crate) fn answered(&mut self, depth: u32, response: &Response) {
        let (found, contacts) = match response {
            Response::Nodes { contacts } => (false, contacts.as_slice()),
            Response::Found { record, contacts } => (record.is_some(), contacts.as_slice()),
            Response::Providers { providers, contacts } => (!providers.is_empty(), contacts.as_slice()),
            Response::Done | Response::Refused(_) => return,
        };
        self.depths.answered(depth, contacts.iter().map(|contact| contact.node));
        if found {
            let at = self.found_at.get_or_insert(depth + 1);
            *at = (*at).min(depth + 1);
        }
    }
}
