//! Query connections of one node in one direction: reused for a while, limited in number. The limits are those of the
//! network core (`PROTOCOL.md`, section 9).

use std::net::IpAddr;

use polypeer_engine::address::{Subnet, Zone};

use crate::index::NodeIndex;
use crate::queue::{Micros, SECOND};

/// Limit of outgoing query connections.
pub const MAX_OUT: usize = 64;
/// Limit of incoming query connections.
pub const MAX_IN: usize = 256;
/// Limit of incoming ones from one public address.
pub const MAX_IN_PER_IP: usize = 8;
/// Limit of incoming ones from one public /24.
pub const MAX_IN_PER_SUBNET: usize = 32;
/// Time after which an unused one closes.
pub const IDLE: Micros = 8 * SECOND;
/// Time after which each one closes.
pub const OLDEST: Micros = 25 * SECOND;

/// Reason why a request gets no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All outgoing connections of this node wait for answers.
    Out,
    /// The other node is at a limit.
    In,
}

/// Connections of one direction, sorted by peer.
#[derive(Debug, Default)]
pub struct Conns {
    open: Vec<Conn>,
}

#[derive(Debug, Clone, Copy)]
struct Conn {
    peer: NodeIndex,
    ip: IpAddr,
    born: Micros,
    used: Micros,
    /// Requests in flight.
    busy: u16,
}

impl Conn {
    fn lives(&self, now: Micros) -> bool {
        now < self.born + OLDEST && (self.busy > 0 || now < self.used + IDLE)
    }
}

impl Conns {
    /// Uses the connection to `peer` for a request, if there is one. Returns the time until it is ready.
    pub fn touch(&mut self, peer: NodeIndex, now: Micros) -> Option<Micros> {
        let position = self.open.binary_search_by_key(&peer, |conn| conn.peer).ok()?;
        let conn = &mut self.open[position];
        if !conn.lives(now) {
            self.open.remove(position);
            return None;
        }
        conn.used = conn.used.max(now);
        conn.busy += 1;
        Some(conn.born.saturating_sub(now))
    }

    /// Notes a request on the incoming connection from `peer`.
    pub fn used(&mut self, peer: NodeIndex, now: Micros) {
        if let Ok(position) = self.open.binary_search_by_key(&peer, |conn| conn.peer) {
            self.open[position].used = now;
        }
    }

    /// Opens an outgoing connection for a request, ready at `ready`. At the limit it replaces the least recently used
    /// one without requests in flight, and returns that one's peer.
    pub fn open(&mut self, peer: NodeIndex, ip: IpAddr, now: Micros, ready: Micros) -> Result<Option<NodeIndex>, Full> {
        self.make_room(now, MAX_OUT);
        let mut gone = None;
        if self.open.len() >= MAX_OUT {
            let idle = self.open.iter().enumerate().filter(|(_, conn)| conn.busy == 0);
            let (position, _) = idle.min_by_key(|(_, conn)| conn.used).ok_or(Full::Out)?;
            gone = Some(self.open.remove(position).peer);
        }
        self.insert(Conn { peer, ip, born: ready, used: ready, busy: 1 });
        Ok(gone)
    }

    /// Notes that a request to `peer` was answered or failed.
    pub fn answered(&mut self, peer: NodeIndex, now: Micros) {
        if let Ok(position) = self.open.binary_search_by_key(&peer, |conn| conn.peer) {
            let conn = &mut self.open[position];
            conn.busy = conn.busy.saturating_sub(1);
            conn.used = conn.used.max(now);
        }
    }

    /// Accepts an incoming connection, unless a limit is reached.
    pub fn accept(&mut self, peer: NodeIndex, ip: IpAddr, now: Micros) -> Result<(), Full> {
        self.make_room(now, MAX_IN);
        let public = Zone::of(ip) == Zone::Public;
        if self.open.len() >= MAX_IN || (public && self.is_crowded(ip, now)) {
            return Err(Full::In);
        }
        self.insert(Conn { peer, ip, born: now, used: now, busy: 0 });
        Ok(())
    }

    fn is_crowded(&self, ip: IpAddr, now: Micros) -> bool {
        let subnet = Subnet::of(ip);
        let near: Vec<&Conn> =
            self.open.iter().filter(|conn| Subnet::of(conn.ip) == subnet && conn.lives(now)).collect();
        near.len() >= MAX_IN_PER_SUBNET || near.iter().filter(|conn| conn.ip == ip).count() >= MAX_IN_PER_IP
    }

    /// Closes the connection with `peer`.
    pub fn close(&mut self, peer: NodeIndex) {
        self.open.retain(|conn| conn.peer != peer);
    }

    fn insert(&mut self, conn: Conn) {
        match self.open.binary_search_by_key(&conn.peer, |conn| conn.peer) {
            Ok(position) => self.open[position] = conn,
            Err(position) => self.open.insert(position, conn),
        }
    }

    /// Removes expired connections when there are many, or at the limit.
    fn make_room(&mut self, now: Micros, most: usize) {
        if self.open.len() >= most.min(16) {
            self.open.retain(|conn| conn.lives(now));
            self.open.shrink_to(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([93, 1, 2, last])
    }

    #[test]
    fn unused_and_old_ones_end() {
        let mut conns = Conns::default();
        let use_at = |conns: &mut Conns, at| {
            let open = conns.touch(7, at);
            conns.answered(7, at);
            open.is_some()
        };
        conns.open(7, ip(1), 0, SECOND).expect("room");
        assert_eq!(conns.touch(7, SECOND / 2), Some(SECOND / 2), "not ready yet");
        conns.answered(7, SECOND);
        conns.answered(7, SECOND);
        assert!(use_at(&mut conns, 2 * SECOND) && conns.touch(8, 2 * SECOND).is_none());
        assert!([9, 16, 23].into_iter().all(|at| use_at(&mut conns, at * SECOND)));
        assert!(!use_at(&mut conns, 27 * SECOND), "25 s after it was made");
        conns.open(7, ip(1), 0, SECOND).expect("room");
        conns.answered(7, SECOND);
        assert!(!use_at(&mut conns, 10 * SECOND), "8 s after its last use");
    }

    #[test]
    fn both_directions_are_capped_and_room_comes_back() {
        let mut out = Conns::default();
        for peer in 0..MAX_OUT as NodeIndex {
            assert_eq!(out.open(peer, ip(1), 0, 0), Ok(None));
        }
        assert_eq!(out.open(1000, ip(1), 0, 0), Err(Full::Out), "all wait for answers");
        out.answered(3, SECOND);
        assert_eq!(out.open(1000, ip(1), SECOND, SECOND), Ok(Some(3)), "the idle one goes");
        let mut incoming = Conns::default();
        for peer in 0..MAX_IN_PER_IP as NodeIndex {
            assert_eq!(incoming.accept(peer, ip(1), 0), Ok(()));
        }
        assert_eq!(incoming.accept(900, ip(1), 0), Err(Full::In));
        for peer in MAX_IN_PER_IP as NodeIndex..MAX_IN as NodeIndex {
            let elsewhere = IpAddr::from([93, 1, (3 + peer / 32) as u8, (peer / 8) as u8]);
            assert_eq!(incoming.accept(peer, elsewhere, 0), Ok(()));
        }
        assert_eq!(incoming.accept(901, IpAddr::from([93, 7, 7, 7]), 0), Err(Full::In));
        assert_eq!(incoming.accept(901, ip(200), 11 * SECOND), Ok(()));
        for peer in 0..MAX_IN_PER_SUBNET as NodeIndex - 1 {
            assert_eq!(incoming.accept(peer, ip(peer as u8), 11 * SECOND), Ok(()));
        }
        assert_eq!(incoming.accept(900, ip(201), 11 * SECOND), Err(Full::In), "too many of its subnet");
    }
}
