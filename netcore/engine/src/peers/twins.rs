//! Signs that another node runs with this node's identity: a home that was copied, or restored beside the original. The
//! two take each other's connections. The result is a warning and slower dials, never more: a peer can forge the signs.
//! Pure.
//!
//! - A peer closes an established connection as superseded, although this node has made no other: it has one with another
//!   node of the same identity.
//! - Somebody on the local network announces this node's id, but is another process.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::now::Now;

/// How long a sign counts.
const LATELY: Duration = Duration::from_secs(3600);
/// Connections taken from which on there is a warning. One may be an accident of the moment.
const TAKEN: usize = 2;
/// Most signs remembered; older ones make room.
const MAX_SIGNS: usize = 64;

/// The signs of the last hour.
#[derive(Debug, Default)]
pub struct Twins {
    /// The peers that took a connection away, oldest first.
    taken: VecDeque<(Instant, NodeId)>,
    announced: Option<(Instant, SocketAddr)>,
    /// Whether there was a warning at the last look.
    warned: bool,
}

impl Twins {
    /// `peer` closed this node's connection for another one of this node's identity. Returns how often it has done so in
    /// the last hour before.
    pub fn handle_taken(&mut self, now: Now, peer: NodeId) -> u32 {
        self.forget(now);
        let before = self.taken.iter().filter(|(_, taker)| *taker == peer).count();
        if self.taken.len() >= MAX_SIGNS {
            self.taken.pop_front();
        }
        self.taken.push_back((now.at, peer));
        before as u32
    }

    /// Another process on the local network announced this node's id at `address`.
    pub fn handle_announced(&mut self, now: Now, address: SocketAddr) {
        self.announced = Some((now.at, address));
    }

    /// The warning, while there are signs enough.
    pub fn warning(&self, now: Now) -> Option<String> {
        let is_recent = |at: &Instant| now.at.saturating_duration_since(*at) < LATELY;
        let taken = self.taken.iter().filter(|(at, _)| is_recent(at)).count();
        let announced = self.announced.filter(|(at, _)| is_recent(at)).map(|(_, address)| address);
        let sign = match announced {
            Some(address) => format!("it is announced on the local network at {address}"),
            None if taken >= TAKEN => format!("{taken} times lately a peer dropped this node's connection for its"),
            None => return None,
        };
        Some(format!(
            "another node runs with the identity of this one ({sign}): the two take each other's connections; if this \
             home was copied, stop one of them, or delete identity.key in the copy's home, so that it gets an identity \
             of its own"
        ))
    }

    /// [`Self::warning`] if it is new since the last call, for the log.
    pub fn news(&mut self, now: Now) -> Option<String> {
        let warning = self.warning(now);
        let is_new = warning.is_some() && !self.warned;
        self.warned = warning.is_some();
        warning.filter(|_| is_new)
    }

    fn forget(&mut self, now: Now) {
        while self.taken.front().is_some_and(|(at, _)| now.at.saturating_duration_since(*at) >= LATELY) {
            self.taken.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn at(seconds: u64) -> Now {
        Now { at: testing::start() + Duration::from_secs(seconds), unix: 1_000_000 + seconds }
    }

    #[test]
    fn one_connection_taken_is_an_accident_and_two_are_told_once_for_an_hour() {
        let mut twins = Twins::default();
        let [one, two] = [1, 2].map(|number| NodeId([number; 32]));
        assert_eq!(twins.handle_taken(at(0), one), 0);
        assert_eq!(twins.news(at(0)), None);
        assert_eq!((twins.handle_taken(at(60), two), twins.handle_taken(at(90), one)), (0, 1));
        assert!(twins.news(at(90)).is_some_and(|text| text.contains("3 times lately")));
        assert_eq!(twins.news(at(91)), None, "told already");
        assert!(twins.warning(at(3000)).is_some());
        assert_eq!(twins.warning(at(3700)), None);
        assert_eq!(twins.news(at(3700)), None);
        assert_eq!(twins.handle_taken(at(3700), one), 0);
        twins.handle_taken(at(3701), one);
        assert!(twins.news(at(3702)).is_some(), "anew");
    }

    #[test]
    fn announcement_of_this_nodes_id_is_told_at_once_and_signs_are_limited() {
        let mut twins = Twins::default();
        twins.handle_announced(at(0), "192.168.1.9:7470".parse().expect("address"));
        assert!(twins.news(at(0)).is_some_and(|text| text.contains("192.168.1.9:7470")));
        for second in 0..1000 {
            twins.handle_taken(at(second), NodeId([1; 32]));
        }
        assert_eq!(twins.taken.len(), MAX_SIGNS);
    }
}
