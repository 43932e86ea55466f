//! Rate limits on questions: a token bucket for each asking node and for each public subnet, in a bounded number.

use std::net::IpAddr;
use std::time::Instant;

use polypeer_ipc_protocol::ids::NodeId;

use super::Asker;
use super::limits::{MAX_ASKERS, NODE_RATE, SUBNET_RATE};
use crate::address::{Subnet, Zone};
use crate::rate::Buckets;

/// The token buckets of all askers.
#[derive(Debug)]
pub(super) struct Rates {
    nodes: Buckets<NodeId>,
    subnets: Buckets<Subnet>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { nodes: Buckets::new(MAX_ASKERS), subnets: Buckets::new(MAX_ASKERS) }
    }
}

/// The subnet that is charged for packets from `ip`; `None` for this machine and local networks, which have no limit
/// per subnet.
pub(super) fn charged_subnet(ip: IpAddr) -> Option<Subnet> {
    (Zone::of(ip) == Zone::Public).then(|| Subnet::of(ip))
}

impl Rates {
    /// Takes `cost` tokens from the buckets of the asker and its subnet; `false` when one of them has too few.
    pub(super) fn take(&mut self, asker: &Asker, cost: usize, at: Instant) -> bool {
        // The subnet comes first: otherwise one subnet could fill the list of nodes with new ids.
        let subnet = charged_subnet(asker.ip);
        if subnet.is_some_and(|subnet| !self.subnets.has(&subnet, cost, at)) {
            return false;
        }
        self.nodes.take(asker.node, NODE_RATE, cost, at)
            && subnet.is_none_or(|subnet| self.subnets.take(subnet, SUBNET_RATE, cost, at))
    }

    /// Removes full buckets: a new one would be the same.
    pub(super) fn forget(&mut self, at: Instant) {
        self.nodes.forget_full(at);
        self.subnets.forget_full(at);
    }

    /// Buckets in all.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() + self.subnets.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    const NODE_BURST: usize = NODE_RATE.burst as usize;
    const SUBNET_BURST: usize = SUBNET_RATE.burst as usize;

    fn asker(node: u16, ip: &str) -> Asker {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&node.to_be_bytes());
        Asker { node: NodeId(id), ip: ip.parse().unwrap() }
    }

    #[test]
    fn a_node_gets_its_burst_and_then_its_rate() {
        let (mut rates, one, start) = (Rates::default(), asker(1, "192.168.0.1"), testing::start());
        assert_eq!((0..1000).filter(|_| rates.take(&one, 1, start)).count(), NODE_BURST);
        assert_eq!(
            (0..1000).filter(|_| rates.take(&one, 1, start + Duration::from_secs(2))).count(),
            2 * NODE_RATE.per_second as usize
        );
        assert!(rates.take(&asker(2, "192.168.0.1"), 1, start + Duration::from_secs(2)), "another node");
    }

    #[test]
    fn many_ids_of_one_network_share_its_allowance_and_others_have_theirs() {
        let (mut rates, start) = (Rates::default(), testing::start());
        let asked = (0..2000_u16).filter(|node| rates.take(&asker(*node, "9.0.0.1"), 1, start)).count();
        assert_eq!(asked, SUBNET_BURST);
        assert!(rates.take(&asker(1, "9.0.1.1"), 1, start));
    }

    #[test]
    fn only_so_many_askers_are_remembered_and_only_while_it_matters() {
        let (mut rates, start) = (Rates::default(), testing::start());
        let known = u16::try_from(MAX_ASKERS).unwrap();
        let taken = (0..known + 1000).filter(|node| rates.take(&asker(*node, "10.0.0.1"), 1, start)).count();
        assert_eq!(taken, MAX_ASKERS + NODE_BURST, "those without a place share one allowance");
        assert_eq!(rates.len(), MAX_ASKERS);
        rates.forget(start + Duration::from_secs(1));
        assert_eq!(rates.len(), 0);
    }

    #[test]
    fn who_asked_once_a_while_ago_makes_room_at_once() {
        let (mut rates, start) = (Rates::default(), testing::start());
        let known = u16::try_from(MAX_ASKERS).unwrap();
        (0..known).for_each(|node| assert!(rates.take(&asker(node, "10.0.0.1"), 1, start)));
        let newcomers =
            (known..2 * known).filter(|node| rates.take(&asker(*node, "10.0.0.1"), 1, start + Duration::from_secs(1)));
        assert_eq!(newcomers.count(), usize::from(known), "nobody shares an allowance");
    }

    #[test]
    fn ids_of_a_network_that_has_asked_too_much_are_not_remembered() {
        let (mut rates, start) = (Rates::default(), testing::start());
        let taken = (0..4000_u16).filter(|node| rates.take(&asker(*node, "9.0.0.1"), 1, start)).count();
        assert_eq!((taken, rates.nodes.len()), (SUBNET_BURST, SUBNET_BURST));
    }
}
