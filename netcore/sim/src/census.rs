//! Census of live honest nodes: sizes of their tables, links and stores.

use crate::node::{Conduct, Node};
use crate::world::World;

/// Means over honest nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Census {
    /// Memory of a routing table, bytes.
    pub table_bytes: Option<f64>,
    /// Contacts in a routing table.
    pub contacts: Option<f64>,
    /// Links of a node.
    pub links: Option<f64>,
    /// Largest size of the records that one node holds, bytes.
    pub record_bytes_max: u64,
    /// Live nodes that have not joined.
    pub not_joined: u64,
}

impl World {
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

    /// Number of attackers started.
    pub(crate) fn attacker_count(&self) -> usize {
        self.attackers.len()
    }

    /// Share of attackers among honest nodes' contacts, 0 to 1.
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
