//! How often one asker, and one network, may ask: an allowance that fills again with time, for each of a bounded number.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use polypeer_ipc_protocol::ids::NodeId;

use super::Asker;
use super::bucket::Moment;
use super::limits::{MAX_ASKERS, NODE_BURST, NODE_RATE, SUBNET_BURST, SUBNET_RATE};
use crate::address::{Subnet, Zone};

/// The allowances of all askers.
#[derive(Debug, Default)]
pub(super) struct Rates {
    nodes: Group<NodeId>,
    subnets: Group<Subnet>,
}

/// Who pays for a network's share: none for this machine and local networks, whose addresses are not counted.
pub(super) fn payer(ip: IpAddr) -> Option<Subnet> {
    (Zone::of(ip) == Zone::Public).then(|| Subnet::of(ip))
}

impl Rates {
    /// Takes `cost` from the asker's allowance and its network's; `false` when one of them has not so much.
    pub(super) fn take(&mut self, asker: &Asker, cost: u32, at: Moment) -> bool {
        // First whether its network may, so that whoever has one network does not fill the list of nodes.
        let subnet = payer(asker.ip);
        if subnet.is_some_and(|subnet| !self.subnets.has(&subnet, cost, at, SUBNET_BURST, SUBNET_RATE)) {
            return false;
        }
        self.nodes.take(asker.node, cost, at, NODE_BURST, NODE_RATE)
            && subnet.is_none_or(|subnet| self.subnets.take(subnet, cost, at, SUBNET_BURST, SUBNET_RATE))
    }

    /// Forgets those whose allowance is full: they are as new.
    pub(super) fn forget(&mut self, at: Moment) {
        self.nodes.forget(at, NODE_BURST, NODE_RATE);
        self.subnets.forget(at, SUBNET_BURST, SUBNET_RATE);
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.known.len() + self.subnets.known.len()
    }
}

/// What is left, and when that was so.
type Allowance = (u32, Moment);

/// The allowances of many: each has a `burst` at once, and gets `rate` a second back.
#[derive(Debug)]
pub(super) struct Group<T> {
    /// Only looked up, and forgotten whatever the order.
    known: HashMap<T, Allowance>,
    /// Of all those that there is no room to remember.
    rest: Option<Allowance>,
    /// When those that are as new were last forgotten for lack of room.
    forgot: Moment,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), rest: None, forgot: Moment(0) }
    }
}

impl<T: Eq + Hash> Group<T> {
    /// Takes `cost` from one; `false` when it has not so much, and then takes nothing.
    pub(super) fn take(&mut self, who: T, cost: u32, at: Moment, burst: u32, rate: u32) -> bool {
        if self.known.len() >= MAX_ASKERS && !self.known.contains_key(&who) && self.forgot < at {
            self.forgot = at; // at most once a second
            self.forget(at, burst, rate);
        }
        if self.known.len() >= MAX_ASKERS && !self.known.contains_key(&who) {
            return spend(self.rest.get_or_insert((burst, at)), cost, at, burst, rate);
        }
        spend(self.known.entry(who).or_insert((burst, at)), cost, at, burst, rate)
    }

    /// Whether [`Self::take`] may succeed; takes nothing.
    pub(super) fn has(&self, who: &T, cost: u32, at: Moment, burst: u32, rate: u32) -> bool {
        let full = self.known.len() >= MAX_ASKERS;
        let allowance = self.known.get(who).copied().or_else(|| self.rest.filter(|_| full));
        allowance.is_none_or(|allowance| filled(allowance, at, burst, rate) >= cost)
    }

    /// Forgets those whose allowance is full.
    pub(super) fn forget(&mut self, at: Moment, burst: u32, rate: u32) {
        self.known.retain(|_, allowance| filled(*allowance, at, burst, rate) < burst);
    }
}

fn filled((left, then): Allowance, at: Moment, burst: u32, rate: u32) -> u32 {
    at.since(then).saturating_mul(rate).saturating_add(left).min(burst)
}

fn spend(allowance: &mut Allowance, cost: u32, at: Moment, burst: u32, rate: u32) -> bool {
    let left = filled(*allowance, at, burst, rate);
    *allowance = (left.saturating_sub(if left >= cost { cost } else { 0 }), at);
    left >= cost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(node: u16, ip: &str) -> Asker {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&node.to_be_bytes());
        Asker { node: NodeId(id), ip: ip.parse().unwrap() }
    }

    #[test]
    fn a_node_gets_its_burst_and_then_its_rate() {
        let (mut rates, one) = (Rates::default(), asker(1, "192.168.0.1"));
        assert_eq!((0..1000).filter(|_| rates.take(&one, 1, Moment(5))).count(), NODE_BURST as usize);
        assert_eq!((0..1000).filter(|_| rates.take(&one, 1, Moment(7))).count(), 2 * NODE_RATE as usize);
        assert!(rates.take(&asker(2, "192.168.0.1"), 1, Moment(7)), "another node");
    }

    #[test]
    fn many_ids_of_one_network_share_its_allowance_and_others_have_theirs() {
        let mut rates = Rates::default();
        let asked = (0..2000_u16).filter(|node| rates.take(&asker(*node, "9.0.0.1"), 1, Moment(0))).count();
        assert_eq!(asked, SUBNET_BURST as usize);
        assert!(rates.take(&asker(1, "9.0.1.1"), 1, Moment(0)));
    }

    #[test]
    fn only_so_many_askers_are_remembered_and_only_while_it_matters() {
        let mut rates = Rates::default();
        let known = u16::try_from(MAX_ASKERS).unwrap();
        let taken = (0..known + 1000).filter(|node| rates.take(&asker(*node, "10.0.0.1"), 1, Moment(0))).count();
        assert_eq!(taken, MAX_ASKERS + NODE_BURST as usize, "those without a place share one allowance");
        assert_eq!(rates.len(), MAX_ASKERS);
        rates.forget(Moment(1));
        assert_eq!(rates.len(), 0);
    }

    #[test]
    fn who_asked_once_a_while_ago_makes_room_at_once() {
        let mut rates = Rates::default();
        let known = u16::try_from(MAX_ASKERS).unwrap();
        (0..known).for_each(|node| assert!(rates.take(&asker(node, "10.0.0.1"), 1, Moment(5))));
        let newcomers = (known..2 * known).filter(|node| rates.take(&asker(*node, "10.0.0.1"), 1, Moment(6)));
        assert_eq!(newcomers.count(), usize::from(known), "nobody shares an allowance");
    }

    #[test]
    fn ids_of_a_network_that_has_asked_too_much_are_not_remembered() {
        let mut rates = Rates::default();
        let taken = (0..4000_u16).filter(|node| rates.take(&asker(*node, "9.0.0.1"), 1, Moment(0))).count();
        assert_eq!((taken, rates.nodes.known.len()), (SUBNET_BURST as usize, SUBNET_BURST as usize));
    }
}
