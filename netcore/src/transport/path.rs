//! Which way packets of a connection travel: the map between the address quinn believes in and the present path.
//!
//! quinn holds one remote address per connection. For a connection made directly that is the peer's address; for one
//! made through a tunnel it is a *synthetic* address of our own. Either stays what it is while [`PathHandle::switch_to`]
//! moves the packets elsewhere: `socket` looks each destination up here on the way out, and each source on the
//! way in. A switch also tells the connection's congestion controller (`congestion`).

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use polypeer_engine::socket_address::{SYNTHETIC, is_synthetic, plain};
use polypeer_ipc_protocol::gateway::Path;

use super::moves::Moves;

/// Connections with an entry at once: those made through a tunnel or switched. Far above what one node relays today,
/// far below what would be felt in memory (some 200 bytes each).
const MAX_ENTRIES: usize = 4096;
/// Sources accepted for one connection: old and new path, both families, and a few candidates.
const MAX_SOURCES: usize = 16;

/// A way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Straight to its address.
    Direct(SocketAddr),
    /// In the envelope, to a node that passes it on.
    Tunnel {
        /// The address of that node.
        relay: SocketAddr,
        /// What it knows the tunnel by.
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

    /// How the gateway protocol calls it.
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

/// When a connection's path changed last; shared with its congestion controllers.
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
    /// From where packets for a connection may come, other than its own address.
    sources: HashMap<Route, SocketAddr>,
    next: u64,
}

/// All connections' paths on one socket. Addresses in and out have IPv4 in its plain form.
#[derive(Debug, Default)]
pub(crate) struct PathTable {
    /// Whether `maps` holds anything: while all connections are direct, a packet costs one load here.
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

    /// The way to what quinn calls `remote`; `None` for a synthetic address that stands for nothing any more.
    pub(crate) fn route(&self, remote: SocketAddr) -> Option<Route> {
        let found = self.look(|maps| maps.routes.get(&remote).copied()).flatten();
        found.or_else(|| (!is_synthetic(remote)).then_some(Route::Direct(remote)))
    }

    /// What quinn calls the sender of a packet that came this way; `None`: a tunnel nobody set up.
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

    /// Sends what goes to `remote` along `route`, and accepts what comes that way, beside all earlier ways.
    fn switch(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| set(maps, remote, route))
    }

    /// The same for a peer that is where it was no more: packets from there are somebody else's.
    fn moved(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| {
            maps.sources.retain(|way, known| *known != remote || !matches!(way, Route::Direct(_)));
            set(maps, remote, route)
        })
    }

    fn accept(&self, remote: SocketAddr, route: Route) -> Result<(), PathError> {
        self.change(|maps| add_source(maps, remote, route))
    }

    /// Forgets all about `remote`.
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

/// The one form quinn keeps addresses in, since its endpoint counts as an IPv6 one.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

/// One connection's path: where it goes, and the means to move it. Cheap to clone.
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

    /// Where packets go now.
    pub fn route(&self) -> Route {
        let remote = self.remote();
        self.table.route(remote).unwrap_or(Route::Direct(remote))
    }

    /// Lets the peer's packets come this way too, while ours keep going where they go: to be called on both sides before
    /// either switches, or the first packets on the new way are taken for a stranger's.
    pub fn accept_from(&self, route: Route) -> Result<(), PathError> {
        self.table.accept(self.remote(), route)
    }

    /// Sends everything along `route` from the next packet on, and starts congestion control anew there. Nothing is
    /// lost that the old path delivers: its packets are still accepted, and what is missing is sent again.
    ///
    /// The caller knows that the route works in both directions; nothing here probes it.
    pub fn switch_to(&self, route: Route) -> Result<(), PathError> {
        self.table.switch(self.remote(), route)?;
        self.switches.switched(Instant::now());
        Ok(())
    }

    /// Looks out for the peer's moving, until the result is dropped. For connections this node dialed.
    pub(crate) fn watch(&self) -> Watching {
        let remote = self.remote();
        self.table.moves.watch(remote);
        Watching { table: Arc::clone(&self.table), remote }
    }

    /// Whether the peer has moved, and whereto; then what is sent goes there already. To be asked a few times a second
    /// while [`Moves::is_pending`].
    pub(crate) fn follow(&self) -> Option<SocketAddr> {
        let frames = self.connection.stats().frame_rx;
        let understood = frames.acks + frames.ping + frames.stream + frames.datagram + frames.path_challenge;
        let address = self.table.moves.look(self.remote(), understood)?;
        self.table.moved(self.remote(), Route::Direct(address)).ok()?;
        self.switches.switched(Instant::now());
        Some(address)
    }

    /// Forgets the ways of a connection that ended.
    pub(crate) fn release(&self) {
        self.table.release(self.remote());
    }
}

/// See [`PathHandle::watch`].
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
