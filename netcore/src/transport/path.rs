//! Paths of connections: the map between the remote address that quinn knows and the present route.
//!
//! quinn holds one remote address per connection. For a connection made directly that is the peer's address; for one
//! made through a tunnel it is a *synthetic* address of our own. Neither changes when [`PathHandle::switch_to`] moves
//! the packets to another route: `socket` looks up each destination here when it sends, and each source when it
//! receives. The connection's congestion controller (`congestion`) learns of a switch, too.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use polypeer_engine::socket_address::{SYNTHETIC, is_synthetic, plain};
use polypeer_ipc_protocol::gateway::Path;

use super::moves::Moves;

/// Connections with an entry at once: those made through a tunnel or switched. Far more than one node relays today, and
/// little memory (some 200 bytes each).
const MAX_ENTRIES: usize = 4096;
/// Routes accepted as sources of one connection: old and new path, both families, and a few candidates.
const MAX_SOURCES: usize = 16;

/// A route to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Directly to its address.
    Direct(SocketAddr),
    /// In an envelope, to a relay that forwards it.
    Tunnel {
        /// The relay's address.
        relay: SocketAddr,
        /// The tunnel id.
        id: u64,
    },
}

impl Route {
    /// The address packets are sent to.
    pub fn address(&self) -> SocketAddr {
        match *self {
            Self::Direct(address) => address,
            Self::Tunnel { relay, .. } => relay,
        }
    }

    /// The kind of path, as the gateway protocol names it.
    pub fn kind(&self) -> Path {
        match self {
            Self::Direct(_) => Path::Direct,
            Self::Tunnel { .. } => Path::Relayed,
        }
    }
}

/// Why a path cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `MAX_ENTRIES` or `MAX_SOURCES` is reached.
    #[error("set a path: too many paths in use")]
    Full,
}

/// The time of a connection's last switch of paths; shared with its congestion controllers.
#[derive(Debug)]
pub(crate) struct Switches {
    base: Instant,
    /// Nanoseconds from `base` to the last switch, plus one; 0: never.
    last: AtomicU64,
}

impl Switches {
    pub(crate) fn new(now: Instant) -> Self {
        Self { base: now, last: AtomicU64::new(0) }
    }

    pub(crate) fn switched(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.base).as_nanos() as u64;
        self.last.store(nanos + 1, Ordering::Release);
    }

    /// The last switch, if there was any.
    pub(crate) fn last(&self) -> Option<Instant> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.base + Duration::from_nanos(last))
    }
}

#[derive(Debug, Default)]
struct Maps {
    routes: HashMap<SocketAddr, Route>,
    /// The remote that a route belongs to, for routes from which packets are accepted beside the remote's own address.
    sources: HashMap<Route, SocketAddr>,
    next: u64,
}

/// The paths of all connections on one socket. Its addresses have IPv4 in the plain form, not mapped to IPv6.
#[derive(Debug, Default)]
pub(crate) struct PathTable {
    /// Whether `maps` has entries. While all connections are direct, a packet costs only the load of this flag.
    used: AtomicBool,
    maps: RwLock<Maps>,
    pub(super) moves: Moves,
}

impl PathTable {
    fn change<T>(&self, with: impl FnOnce(&mut Maps) -> T) -> T {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let result = with(&mut maps);
        self.used.store(!maps.routes.is_empty() || !maps.sources.is_empty(), Ordering::Release);
        result
    }

    fn look<T>(&self, with: impl FnOnce(&Maps) -> T) -> Option<T> {
        let used = self.used.load(Ordering::Acquire);
        used.then(|| with(&self.maps.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The route to the peer that quinn calls `remote`; `None` for a synthetic address that was released.
    pub(crate) fn route(&self, remote: SocketAddr) -> Option<Route> {
        let found = self.look(|maps| maps.routes.get(&remote).copied()).flatten();
        found.or_else(|| (!is_synthetic(remote)).then_some(Route::Direct(remote)))
    }

    /// The remote address by which quinn knows the sender of a packet on route `way`; `None` for an unknown tunnel.
    pub(crate) fn source(&self, way: Route) -> Option<SocketAddr> {
        let known = self.look(|maps| maps.sources.get(&way).copied()).flatten();
        known.or(match way {
            Route::Direct(address) => Some(address),
            Route::Tunnel { .. } => None,
        })
    }

    /// A new synthetic address that stands for `route`.
    pub(crate) fn open(&self, route: Route) -> Result<SocketAddr, PathError> {
        self.change(|maps| {
            if let Some(&known) = maps.sources.get(&route) {
                return Ok(known);
            }
            maps.next += 1;
            let remote = synthetic(maps.next);
            set(maps, remote, route)?;
            Ok(remote)
        })
    }

    /// Sends packets for `remote` along `route`, and accepts packets from it, beside all earlier routes.
    fn switch(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| set(maps, remote, route))
    }

    /// As `switch`, for a peer that has left its old address: packets from there are no longer accepted as the peer's.
    fn moved(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| {
            maps.sources.retain(|way, known| *known != remote || !matches!(way, Route::Direct(_)));
            set(maps, remote, route)
        })
    }

    fn accept(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| add_source(maps, remote, route))
    }

    /// Removes all routes and sources of `remote`.
    pub(crate) fn release(&self, remote: SocketAddr) {
        if self.look(|_| ()).is_some() {
            self.change(|maps| {
                maps.routes.remove(&remote);
                maps.sources.retain(|_, known| *known != remote);
            });
        }
    }
}

fn set(maps: &mut Maps, remote: SocketAddr, route: Route) -> Result<(), PathError> {
    if !maps.routes.contains_key(&remote) && maps.routes.len() >= MAX_ENTRIES {
        return Err(PathError::Full);
    }
    add_source(maps, remote, route)?;
    maps.routes.insert(remote, route);
    Ok(())
}

fn add_source(maps: &mut Maps, remote: SocketAddr, route: Route) -> Result<(), PathError> {
    let known = maps.sources.values().filter(|known| **known == remote).count();
    if !maps.sources.contains_key(&route)
        && (known >= MAX_SOURCES || maps.sources.len() >= MAX_ENTRIES * MAX_SOURCES / 4)
    {
        return Err(PathError::Full);
    }
    maps.sources.insert(route, remote);
    Ok(())
}

fn synthetic(number: u64) -> SocketAddr {
    let [a, b, c] = SYNTHETIC;
    let n = number.to_be_bytes();
    let part = |i: usize| u16::from_be_bytes([n[i], n[i + 1]]);
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(a, b, c, 0, part(0), part(2), part(4), part(6)), 1, 0, 0))
}

/// The IPv6 form of an address. quinn keeps all addresses in it, since its endpoint counts as IPv6.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

/// Handle of one connection's path: reads the route and switches it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PathHandle {
    table: Arc<PathTable>,
    connection: quinn::Connection,
    switches: Arc<Switches>,
}

impl PathHandle {
    pub(crate) fn new(table: Arc<PathTable>, connection: quinn::Connection, switches: Arc<Switches>) -> Self {
        Self { table, connection, switches }
    }

    fn remote(&self) -> SocketAddr {
        plain(self.connection.remote_address())
    }

    /// The route on which packets are sent now.
    pub fn route(&self) -> Route {
        let remote = self.remote();
        self.table.route(remote).unwrap_or(Route::Direct(remote))
    }

    /// Accepts the peer's packets from `route`, too; this node's packets keep their route. Call it on both sides before
    /// either switches: otherwise the first packets on the new route are taken for a stranger's.
    pub fn accept_from(&self, route: Route) -> Result<(), PathError> {
        self.table.accept(self.remote(), route)
    }

    /// Switches to `route` from the next packet on, with fresh congestion control. Packets on the old path are still
    /// accepted, and lost ones are sent again on the new one.
    ///
    /// The caller must know that the route works in both directions; it is not probed here.
    pub fn switch_to(&self, route: Route) -> Result<(), PathError> {
        self.table.switch(self.remote(), route)?;
        self.switches.switched(Instant::now());
        Ok(())
    }

    /// Watches for packets of the peer from another address, until the result is dropped. For connections that this
    /// node dialed.
    pub(crate) fn watch(&self) -> Watching {
        let remote = self.remote();
        self.table.moves.watch(remote);
        Watching { table: Arc::clone(&self.table), remote }
    }

    /// The peer's new address, if it has moved; packets are sent there from now on. Call it a few times a second while
    /// [`Moves::is_pending`].
    pub(crate) fn follow(&self) -> Option<SocketAddr> {
        let frames = self.connection.stats().frame_rx;
        let understood = frames.acks + frames.ping + frames.stream + frames.datagram + frames.path_challenge;
        let address = self.table.moves.look(self.remote(), understood)?;
        self.table.moved(self.remote(), Route::Direct(address)).ok()?;
        self.switches.switched(Instant::now());
        Some(address)
    }

    /// Removes the routes of a connection that has ended.
    pub(crate) fn release(&self) {
        self.table.release(self.remote());
    }
}

/// Ends the watch of [`PathHandle::watch`] when dropped.
pub(crate) struct Watching {
    table: Arc<PathTable>,
    remote: SocketAddr,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.table.moves.unwatch(self.remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn address_nobody_moved_stands_for_itself() {
        let table = PathTable::default();
        let peer = address("192.0.2.1:7470");
        assert_eq!(table.route(peer), Some(Route::Direct(peer)));
        assert_eq!(table.source(Route::Direct(peer)), Some(peer));
        assert_eq!(table.source(Route::Tunnel { relay: peer, id: 1 }), None);
    }

    #[test]
    fn moved_connection_is_sent_the_new_way_and_heard_both_ways() {
        let table = PathTable::default();
        let old = Route::Tunnel { relay: address("192.0.2.9:7470"), id: 5 };
        let new = Route::Direct(address("[2001:db8::1]:7470"));
        let remote = table.open(old).expect("room");
        assert_eq!(table.open(old), Ok(remote), "the same tunnel twice");
        assert_eq!(table.route(remote), Some(old));
        table.switch(remote, new).expect("room");
        assert_eq!(table.route(remote), Some(new));
        assert_eq!((table.source(old), table.source(new)), (Some(remote), Some(remote)));
        table.release(remote);
        assert_eq!((table.route(remote), table.source(old)), (None, None));
        assert_eq!(table.source(new), Some(new.address()));
    }

    #[test]
    fn sources_of_one_connection_and_all_entries_have_a_limit() {
        let table = PathTable::default();
        let tunnel = |id| Route::Tunnel { relay: address("192.0.2.9:7470"), id };
        let remote = table.open(tunnel(0)).expect("room");
        let taken = (1..100).filter(|id| table.accept(remote, tunnel(*id)).is_ok()).count();
        assert_eq!(taken, MAX_SOURCES - 1);
        let opened = (1000..1000 + 2 * MAX_ENTRIES as u64).take_while(|id| table.open(tunnel(*id)).is_ok()).count();
        assert_eq!(opened, MAX_ENTRIES - 1);
    }

    #[test]
    fn quinn_and_we_name_addresses_each_in_our_way() {
        let (v4, v6) = (address("192.0.2.1:7470"), address("[fe80::1%3]:7470"));
        assert_eq!(mapped(v4), address("[::ffff:192.0.2.1]:7470"));
        assert_eq!((plain(mapped(v4)), plain(mapped(v6))), (v4, v6));
    }
}
