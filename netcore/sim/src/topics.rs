//! Who is subscribed to what: many topics, few of them large (Zipf's law with exponent 1).

use polypeer_ipc_protocol::ids::Name;
use rand::RngExt;

use crate::node::NodeIndex;
use crate::world::World;

/// Topics of each node.
pub(crate) const PER_NODE: usize = 3;

impl World {
    /// Names `count` topics, largest first.
    pub(crate) fn make_topics(&mut self, count: usize) {
        let name = |number| -> Name { format!("sim/topic/{number}").parse().expect("a name") };
        self.published.topics = (0..count).map(name).collect();
        self.published.subscribers = vec![Vec::new(); count];
        let mut sum = 0.0;
        self.published.shares = (1..=count)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
    }

    /// Subscribes a node to a few topics by chance, each as likely as it is large.
    pub(crate) fn subscribe_some(&mut self, index: NodeIndex) {
        let Some(total) = self.published.shares.last().copied() else { return };
        let time = self.time();
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < PER_NODE.min(self.published.topics.len()) {
            let draw = self.rng.random_range(0.0..total);
            let topic = self.published.shares.partition_point(|sum| *sum <= draw);
            if !chosen.contains(&topic) {
                chosen.push(topic);
            }
        }
        for topic in chosen {
            self.published.subscribers[topic].push((index, time));
            let name = self.published.topics[topic].clone();
            self.subscribe(index, name);
        }
    }

    /// Forgets subscribers that left before now.
    pub(crate) fn sweep_subscribers(&mut self) {
        let nodes = &self.nodes;
        for subscribers in &mut self.published.subscribers {
            subscribers.retain(|(node, _)| nodes[*node as usize].alive());
        }
    }
}
