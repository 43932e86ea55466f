//! What changes about the network, told to the plugins that watch it: how this node is reached, its addresses, the paths to
//! its peers. Looked at a few times a second, so that changes that follow each other fast are told as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::{Event, NetworkChange, Path, Reach};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::Node;

/// How often the network is looked at: soon enough for a plugin that adapts to it, and a few microseconds of work.
const LOOK: Duration = Duration::from_millis(250);

/// The network at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    reach: Reach,
    addresses: Vec<SocketAddr>,
    paths: BTreeMap<NodeId, Path>,
}

impl Seen {
    fn now(node: &Node) -> Self {
        let addresses = node.peers().map(|peers| peers.ticket().addresses).unwrap_or_default();
        Self { reach: node.services().reach.reach(), addresses, paths: node.links.paths() }
    }

    /// What is different in `newer`. A peer that came or went is told by other events.
    fn changes(&self, newer: &Self, node: NodeId) -> Vec<NetworkChange> {
        let mut changes = Vec::new();
        if newer.reach != self.reach {
            changes.push(NetworkChange::Reach(newer.reach));
        }
        if newer.addresses != self.addresses {
            changes.push(NetworkChange::Addresses(Ticket { node, addresses: newer.addresses.clone() }));
        }
        for (peer, path) in &newer.paths {
            if self.paths.get(peer).is_some_and(|before| before != path) {
                changes.push(NetworkChange::Path { node: *peer, path: *path });
            }
        }
        changes
    }
}

/// Looks and tells until it is dropped.
pub(crate) async fn run(node: Arc<Node>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::now(&node);
    loop {
        ticks.tick().await;
        let newer = Seen::now(&node);
        for change in seen.changes(&newer, node.id) {
            tell(&node, &change);
        }
        seen = newer;
    }
}

fn tell(node: &Node, change: &NetworkChange) {
    for session in node.sessions() {
        let watches = session.watches_network.load(Ordering::Relaxed);
        let allowed = match change {
            NetworkChange::Path { node, .. } => session.launch.grants().peers.allows(node),
            NetworkChange::Reach(_) | NetworkChange::Addresses(_) => true,
        };
        if watches && allowed && !session.outbox.offer_or_drop(Event::Network(change.clone())) {
            node.counters.events_dropped.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_different_is_told() {
        let (me, one, two) = (NodeId([0; 32]), NodeId([1; 32]), NodeId([2; 32]));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let before = Seen {
            reach: Reach::Unknown,
            addresses: vec![address("192.0.2.1:1")],
            paths: BTreeMap::from([(one, Path::Direct)]),
        };
        assert!(before.changes(&before, me).is_empty());
        let after = Seen {
            reach: Reach::Public,
            addresses: vec![address("192.0.2.2:1")],
            paths: BTreeMap::from([(one, Path::Relayed), (two, Path::Relayed)]),
        };
        let ticket = Ticket { node: me, addresses: after.addresses.clone() };
        let expected = [
            NetworkChange::Reach(Reach::Public),
            NetworkChange::Addresses(ticket),
            NetworkChange::Path { node: one, path: Path::Relayed },
        ];
        assert_eq!(before.changes(&after, me), expected);
        assert!(after.changes(&Seen { paths: BTreeMap::new(), ..after.clone() }, me).is_empty());
    }
}
