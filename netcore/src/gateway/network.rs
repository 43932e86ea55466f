//! Changes of the network, reported to the plugins that watch it: this node's reach, its addresses, and the paths to
//! its peers. A path changes when the peer's address does. The state is polled a few times a second while a plugin
//! watches, so that a quick series of changes is reported as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polypeer_ipc_protocol::gateway::{Event, NetworkChange, Reach};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Hub;
use super::launch::ActiveUse;
use super::launch::session::Session;
use crate::transport::Route;

/// The polling interval: short enough for a plugin that adapts to changes; each poll costs a few microseconds.
const LOOK: Duration = Duration::from_millis(250);
/// Polls from one question to the system for this machine's addresses to the next: it costs hundreds of microseconds.
const LOOKS_PER_ADDRESSES: u32 = 8;

/// The state of the network at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    reach: Reach,
    addresses: Vec<SocketAddr>,
    routes: BTreeMap<NodeId, Route>,
}

impl Seen {
    fn now(hub: &Hub) -> Self {
        Self::with(hub, hub.node.peers().map(|peers| peers.ticket().addresses).unwrap_or_default())
    }

    fn with(hub: &Hub, addresses: Vec<SocketAddr>) -> Self {
        Self { reach: hub.reach.reach(), addresses, routes: hub.links.routes() }
    }

    /// Adds the routes of peers that it does not contain yet.
    fn enter(&mut self, routes: BTreeMap<NodeId, Route>) {
        for (peer, route) in routes {
            self.routes.entry(peer).or_insert(route);
        }
    }

    /// The state for a plugin that begins to watch, without paths: those are part of each peer's `PeerInfo`.
    fn state(&self, node: NodeId) -> [NetworkChange; 2] {
        let ticket = Ticket { node, addresses: self.addresses.clone() };
        [NetworkChange::Reach(self.reach), NetworkChange::Addresses(ticket)]
    }

    /// The differences from `self` to `newer`. Peers that connect or disconnect are reported by other events.
    fn changes(&self, newer: &Self, node: NodeId) -> Vec<NetworkChange> {
        let mut changes = Vec::new();
        if newer.reach != self.reach {
            changes.push(NetworkChange::Reach(newer.reach));
        }
        if newer.addresses != self.addresses {
            changes.push(NetworkChange::Addresses(Ticket { node, addresses: newer.addresses.clone() }));
        }
        for (peer, route) in &newer.routes {
            if self.routes.get(peer).is_some_and(|before| before != route) {
                changes.push(NetworkChange::Path { node: *peer, path: route.kind() });
            }
        }
        changes
    }
}

/// The network as the plugins that watch it were told.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The state at the last poll; `None` while no plugin watches.
    last: Mutex<Option<Seen>>,
    began: Notify,
}

impl Watched {
    fn last(&self) -> MutexGuard<'_, Option<Seen>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to report to a plugin: first the state at the last poll, then each change since, also for peers that
    /// connected after that poll.
    pub(crate) fn begin(&self, hub: &Hub, session: &Session, active: ActiveUse) {
        // Set before the lock is taken: the next poll then reports its changes to this session, too, and does so after
        // the state that is sent here under the lock.
        session.network_watch.set(Some(active));
        let mut last = self.last();
        let newer = Seen::now(hub);
        let seen = last.get_or_insert_with(|| newer.clone());
        seen.enter(newer.routes);
        for change in seen.state(hub.node.id) {
            if !session.outbox.offer_or_drop(Event::Network(change)) {
                hub.node.counters.events_dropped.count();
            }
        }
        self.began.notify_one();
    }

    /// The changes since the last poll; `None` when no plugin watches any more.
    fn look(&self, hub: &Hub, with_addresses: bool) -> Option<Vec<NetworkChange>> {
        let mut last = self.last();
        if !hub.sessions().iter().any(|session| session.network_watch.is_set()) {
            *last = None;
            return None;
        }
        let newer = match &*last {
            Some(seen) if !with_addresses => Seen::with(hub, seen.addresses.clone()),
            _ => Seen::now(hub),
        };
        let changes = last.as_ref().map(|seen| seen.changes(&newer, hub.node.id));
        *last = Some(newer);
        Some(changes.unwrap_or_default())
    }
}

/// While a plugin watches, polls and reports changes; until the future is dropped.
pub(crate) async fn run(hub: Arc<Hub>) {
    let mut looks = 0_u32;
    loop {
        hub.network_seen.began.notified().await;
        while let Some(changes) = hub.network_seen.look(&hub, looks.is_multiple_of(LOOKS_PER_ADDRESSES)) {
            for change in changes {
                tell(&hub, &change);
            }
            looks = looks.wrapping_add(1);
            sleep(LOOK).await;
        }
    }
}

fn tell(hub: &Hub, change: &NetworkChange) {
    for session in hub.sessions() {
        let watches = session.network_watch.is_set();
        let allowed = match change {
            NetworkChange::Path { node, .. } => session.launch.grants().peers.allows(node),
            NetworkChange::Reach(_) | NetworkChange::Addresses(_) => true,
        };
        if watches && allowed && !session.outbox.offer_or_drop(Event::Network(change.clone())) {
            hub.node.counters.events_dropped.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::gateway::Path;

    use super::*;

    #[test]
    fn only_what_is_different_is_told() {
        let [me, one, two, three] = [0, 1, 2, 3].map(|number| NodeId([number; 32]));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let direct = |text: &str| Route::Direct(address(text));
        let relayed = Route::Tunnel { relay: address("192.0.2.5:5"), id: 1 };
        let before = Seen {
            reach: Reach::Unknown,
            addresses: vec![address("192.0.2.1:1")],
            routes: BTreeMap::from([(one, direct("192.0.2.3:3")), (two, direct("192.0.2.4:4"))]),
        };
        assert!(before.changes(&before, me).is_empty());
        let after = Seen {
            reach: Reach::Public,
            addresses: vec![address("192.0.2.2:1")],
            routes: BTreeMap::from([(one, relayed), (two, direct("192.0.2.4:44")), (three, relayed)]),
        };
        let ticket = Ticket { node: me, addresses: after.addresses.clone() };
        assert_eq!(after.state(me), [NetworkChange::Reach(Reach::Public), NetworkChange::Addresses(ticket.clone())]);
        let expected = [
            NetworkChange::Reach(Reach::Public),
            NetworkChange::Addresses(ticket),
            NetworkChange::Path { node: one, path: Path::Relayed },
            NetworkChange::Path { node: two, path: Path::Direct },
        ];
        assert_eq!(before.changes(&after, me), expected);
        let mut watched = before.clone();
        watched.enter(after.routes.clone());
        assert_eq!(
            watched.changes(&after, me),
            expected,
            "those that were there are told of, and the new one is known"
        );
        assert_eq!(watched.routes[&three], relayed);
        assert!(after.changes(&Seen { routes: BTreeMap::new(), ..after.clone() }, me).is_empty());
    }
}
