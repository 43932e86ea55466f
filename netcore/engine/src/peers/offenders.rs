//! The latest offenders, for `polypeer status`: each with its offence and how often it happened. Pure and bounded.

use std::collections::VecDeque;
use std::net::SocketAddr;

use polypeer_ipc_protocol::ids::NodeId;

/// Most offenders kept; a further one replaces the one whose last offence is the oldest.
pub const MAX_OFFENDERS: usize = 32;
/// Longest reason kept, bytes: it may quote what the offender sent.
const MAX_REASON: usize = 120;

/// A node or host that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// Its node id; unknown if it was refused before its handshake proved one.
    pub node: Option<NodeId>,
    /// Its address at the latest offence.
    pub address: Option<SocketAddr>,
    /// The offence, as the operator reads it; at most [`MAX_REASON`] bytes.
    pub reason: String,
    /// How often it committed this offence.
    pub count: u64,
    /// Unix seconds of the latest offence.
    pub at: u64,
}

/// The latest offenders, the most recent last.
#[derive(Debug, Default)]
pub struct Offenders(VecDeque<Offender>);

impl Offenders {
    /// Adds an offence of `node`, or of the host at `address` if the node is unknown. The same offence again is
    /// counted.
    pub fn add(&mut self, unix: u64, node: Option<NodeId>, address: Option<SocketAddr>, reason: &str) {
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        let same = |known: &Offender| {
            let who = match node {
                Some(_) => known.node == node,
                None => known.node.is_none() && known.address.map(|a| a.ip()) == address.map(|a| a.ip()),
            };
            who && known.reason == reason
        };
        let offender = match self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            Some(known) => {
                Offender { count: known.count.saturating_add(1), at: unix, address: address.or(known.address), ..known }
            }
            None => Offender { node, address, reason: reason.to_owned(), count: 1, at: unix },
        };
        if self.0.len() == MAX_OFFENDERS {
            self.0.pop_front();
        }
        self.0.push_back(offender);
    }

    /// All offenders, the most recent first.
    pub fn list(&self) -> impl Iterator<Item = &Offender> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8, port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([192, 0, 2, last], port)))
    }

    #[test]
    fn the_same_deed_of_the_same_peer_is_counted_not_listed_again() {
        let mut offenders = Offenders::default();
        let node = Some(NodeId([1; 32]));
        offenders.add(1, node, address(1, 1), "lie");
        offenders.add(2, node, address(1, 2), "lie");
        offenders.add(3, node, None, "flood");
        offenders.add(4, None, address(1, 1), "flood");
        offenders.add(5, None, address(1, 9), "flood");
        let list: Vec<_> = offenders.list().map(|o| (o.node, o.address, o.reason.as_str(), o.count, o.at)).collect();
        assert_eq!(
            list,
            [(None, address(1, 9), "flood", 2, 5), (node, None, "flood", 1, 3), (node, address(1, 2), "lie", 2, 2)]
        );
    }

    #[test]
    fn many_offenders_and_long_reasons_are_bounded() {
        let mut offenders = Offenders::default();
        for last in 0..=255 {
            offenders.add(u64::from(last), None, address(last, 1), &"ö".repeat(1000));
        }
        assert_eq!(offenders.list().count(), MAX_OFFENDERS);
        assert!(offenders.list().all(|offender| offender.reason.len() <= MAX_REASON));
        assert_eq!(offenders.list().next().and_then(|offender| offender.address), address(255, 1));
    }
}
