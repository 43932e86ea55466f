//! What the machines of the living say of themselves.

use crate::node::{Conduct, Node};
use crate::world::World;

/// Means over honest nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Census {
    /// Memory of a routing table, bytes.
    pub table_bytes: Option<f64>,
    /// Contacts in it.
    pub contacts: Option<f64>,
    /// Standing links.
    pub links: Option<f64>,
    /// The most that any node keeps for others, bytes.
    pub record_bytes_max: u64,
    /// Nodes that are there and not part of the network.
    pub not_joined: u64,
}

impl World {
    /// Asks every honest node.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        let (mut bytes, mut contacts, mut links, mut count) = (0, 0, 0, 0_usize);
        for node in self.alive.iter().map(|index| &self.nodes[*index as usize]) {
            let Some(machines) = &node.machines else { continue };
            let stats = machines.dht.stats();
            bytes += stats.table_bytes;
            contacts += stats.contacts;
            links += machines.links.len();
            count += 1;
            census.record_bytes_max = census.record_bytes_max.max(stats.record_bytes as u64);
            census.not_joined += u64::from(node.joined.is_none());
        }
        let mean = |sum: usize| (count > 0).then(|| sum as f64 / count as f64);
        census.table_bytes = mean(bytes);
        census.contacts = mean(contacts);
        census.links = mean(links);
        census
    }

    /// Nodes that are not honest.
    pub(crate) fn attacker_count(&self) -> usize {
        self.attackers.len()
    }

    /// The part of honest nodes' contacts that are attackers.
    pub(crate) fn share_of_attackers(&self) -> Option<f64> {
        let (mut all, mut bad) = (0_u64, 0_u64);
        for node in self.alive.iter().map(|index| &self.nodes[*index as usize]) {
            let Some(machines) = &node.machines else { continue };
            for contact in machines.dht.contacts() {
                let conduct = self.by_id.get(&contact).map(|index| self.conduct(*index));
                all += 1;
                bad += u64::from(conduct == Some(Conduct::Liar));
            }
        }
        (all > 0).then(|| bad as f64 / all as f64)
    }

    fn conduct(&self, index: crate::index::NodeIndex) -> Conduct {
        let node: &Node = &self.nodes[index as usize];
        node.conduct
    }
}
