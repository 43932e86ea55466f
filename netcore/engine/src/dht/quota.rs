//! Quotas: how much of this node's storage each node and each subnet occupies.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::NodeId;

use super::Asker;
use super::rate::charged_subnet;
use crate::address::Subnet;

/// The node and subnet that asked to store something, and so are charged for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payer {
    node: NodeId,
    /// `None` for this machine and local networks.
    pub(super) subnet: Option<Subnet>,
}

impl Payer {
    pub(super) fn of(asker: &Asker) -> Self {
        Self { node: asker.node, subnet: charged_subnet(asker.ip) }
    }
}

/// Which share of the storage something is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Stored by the asker for itself or its plugins (`Put`).
    Own,
    /// Passed on by a node that holds or found it (`Pass`).
    Passed,
}

/// Who is charged for a record, and in which share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) payer: Payer,
    pub(super) share: Share,
}

/// A number of items and of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Amount {
    pub(super) fn plus(self, bytes: usize) -> Self {
        Self { count: self.count + 1, bytes: self.bytes + bytes }
    }

    fn minus(self, bytes: usize) -> Self {
        Self { count: self.count.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// The sum of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }

    pub(super) fn within(self, most: Self) -> bool {
        self.count <= most.count && self.bytes <= most.bytes
    }
}

/// The limits per node, per subnet and in all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) node: Amount,
    pub(super) subnet: Amount,
    pub(super) total: Amount,
}

/// What each node and subnet occupies. It has entries only for those that occupy something, so it is as bounded as the
/// items.
#[derive(Debug)]
pub(super) struct Usage {
    quota: Quota,
    nodes: BTreeMap<NodeId, Amount>,
    subnets: BTreeMap<Subnet, Amount>,
    total: Amount,
}

impl Usage {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, nodes: BTreeMap::new(), subnets: BTreeMap::new(), total: Amount::default() }
    }

    /// Whether one more item of this size is within the quotas of `payer`. This node's own items (`None`) are charged
    /// to nobody.
    pub(super) fn may_add(&self, payer: Option<&Payer>, bytes: usize) -> bool {
        payer.is_none_or(|payer| {
            let node = self.nodes.get(&payer.node).copied().unwrap_or_default();
            let subnet = payer.subnet.and_then(|subnet| self.subnets.get(&subnet)).copied().unwrap_or_default();
            node.plus(bytes).within(self.quota.node)
                && (payer.subnet.is_none() || subnet.plus(bytes).within(self.quota.subnet))
        })
    }

    /// Whether the total allows one more item of this size.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.total.plus(bytes).within(self.quota.total)
    }

    pub(super) fn add(&mut self, payer: Option<&Payer>, bytes: usize) {
        self.total = self.total.plus(bytes);
        let Some(payer) = payer else { return };
        let node = self.nodes.entry(payer.node).or_default();
        *node = node.plus(bytes);
        if let Some(subnet) = payer.subnet {
            let amount = self.subnets.entry(subnet).or_default();
            *amount = amount.plus(bytes);
        }
    }

    pub(super) fn remove(&mut self, payer: Option<&Payer>, bytes: usize) {
        self.total = self.total.minus(bytes);
        let Some(payer) = payer else { return };
        subtract(&mut self.nodes, &payer.node, bytes);
        if let Some(subnet) = &payer.subnet {
            subtract(&mut self.subnets, subnet, bytes);
        }
    }

    pub(super) fn total(&self) -> Amount {
        self.total
    }
}

fn subtract<T: Ord>(amounts: &mut BTreeMap<T, Amount>, who: &T, bytes: usize) {
    if let Some(amount) = amounts.get_mut(who) {
        *amount = amount.minus(bytes);
        if amount.count == 0 {
            amounts.remove(who);
        }
    }
}
