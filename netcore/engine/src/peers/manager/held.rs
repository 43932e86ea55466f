//! The connections that are kept: their begin, address, users and end.

use std::net::{IpAddr, SocketAddr};

use polypeer_ipc_protocol::ids::NodeId;

use super::{Ending, FIRST, Held, LONGEST_TAKEN, Manager, REST, TAKEN};
use crate::now::Now;
use crate::source::Source;

impl Manager {
    /// A connection with `node` is kept; it replaces an earlier one. `address` is where to dial the peer again; `out`
    /// tells whether this node dialed.
    pub fn up(&mut self, now: Now, node: NodeId, ip: IpAddr, address: Option<SocketAddr>, source: Source, out: bool) {
        self.book.connected(node, address, source, now.unix);
        if let Some(entry) = self.book.known(&node) {
            (entry.failures, entry.due) = (0, None);
            entry.dialed |= out;
        }
        let held = Held { ip, source, outgoing: out, since: now.at, used: now.at, closing: false };
        if let Some(replaced) = self.links.insert(node, held) {
            self.counts.remove(replaced.ip);
        }
        self.counts.add(ip);
        self.changed.insert(node);
        self.wake = Some(now.at);
    }

    /// The connection with `node` ended.
    pub fn down(&mut self, now: Now, node: &NodeId, ending: Ending) {
        let Some(held) = self.links.remove(node) else { return };
        self.counts.remove(held.ip);
        self.wake = Some(now.at);
        let jitter = self.jitter();
        self.book.seen(node, false, now.unix);
        let let_go = held.closing || ending == Ending::Deliberate;
        let wait = match ending {
            Ending::Taken { before } => {
                TAKEN.saturating_mul(1 << before.min(16)).min(LONGEST_TAKEN).mul_f64(0.5 + jitter)
            }
            _ if let_go => REST.mul_f64(0.5 + jitter),
            _ => FIRST.mul_f64(jitter),
        };
        if let Some(entry) = self.book.known(node) {
            entry.standing.was_up(now.unix, now.at.saturating_duration_since(held.since));
            entry.due = Some(now.at + wait);
            self.changed.insert(*node);
        }
    }

    /// The peer `node` has moved to `address`, on the same connection.
    pub fn moved(&mut self, now: Now, node: NodeId, address: SocketAddr) {
        if let Some(held) = self.links.get_mut(&node) {
            self.counts.remove(held.ip);
            held.ip = address.ip();
            self.counts.add(held.ip);
            self.book.connected(node, Some(address), held.source, now.unix);
            self.changed.insert(node);
        }
    }

    /// Adds a user of the connection with `node`, present or future, until [`Self::release`]. While it has one, it is
    /// not disconnected to make room or as unused.
    pub fn keep(&mut self, node: NodeId) {
        *self.kept.entry(node).or_default() += 1;
    }

    /// The connection with `node` was used just now.
    pub fn used(&mut self, now: Now, node: &NodeId) {
        if let Some(held) = self.links.get_mut(node) {
            held.used = now.at;
        }
    }

    /// Removes a user that [`Self::keep`] added.
    pub fn release(&mut self, now: Now, node: &NodeId) {
        self.floor = None;
        let Some(users) = self.kept.get_mut(node) else { return };
        *users -= 1;
        if *users == 0 {
            self.kept.remove(node);
            if let Some(held) = self.links.get_mut(node) {
                held.used = now.at;
            }
            if self.connected() > self.marks.low {
                self.wake_by(now.at + self.marks.idle);
            }
            if self.connected() > self.marks.high {
                self.wake = Some(now.at);
            }
        }
    }
}
