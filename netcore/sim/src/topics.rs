//! Topics, subscriptions and published messages. Sizes of topics follow Zipf's law with exponent 1: many topics, few of
//! them large.

use bytes::Bytes;
use polypeer_ipc_protocol::ids::Name;
use rand::{Rng, RngExt};

use crate::event::{Event, Task};
use crate::index::NodeIndex;
use crate::published::Sent;
use crate::queue::{MS, Micros, SECOND};
use crate::world::World;

/// Topics that each node subscribes to.
pub(crate) const PER_NODE: usize = 3;
/// Bytes of a published payload.
const MESSAGE: usize = 1024;
/// Time after a message at which its deliveries are counted.
const DEADLINE: Micros = 60 * SECOND;
/// Time for which a node must be subscribed to be counted: it finds other subscribers meanwhile.
const SETTLED: Micros = 30 * SECOND;

impl World {
    /// Makes `count` topics, largest first.
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

    /// Subscribes a node to [`PER_NODE`] random topics, with probabilities by their sizes.
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

    /// Removes subscribers that have left.
    pub(crate) fn sweep_subscribers(&mut self) {
        let nodes = &self.nodes;
        for subscribers in &mut self.published.subscribers {
            subscribers.retain(|(node, _)| nodes[*node as usize].alive());
        }
    }

    /// Publishes a message from a random live subscriber of a random topic.
    pub(crate) fn publish(&mut self) {
        if self.published.topics.is_empty() {
            return;
        }
        let (time, now) = (self.time(), self.now());
        let topic = self.rng.random_range(0..self.published.topics.len());
        let settled = |entry: &&(NodeIndex, Micros)| entry.1 + SETTLED <= time && self.nodes[entry.0 as usize].alive();
        let ready: Vec<NodeIndex> =
            self.published.subscribers[topic].iter().filter(settled).map(|entry| entry.0).collect();
        if ready.len() < 2 {
            return;
        }
        let by = ready[self.rng.random_range(0..ready.len())];
        let mut payload = vec![0; MESSAGE];
        self.rng.fill_bytes(&mut payload);
        let name = self.published.topics[topic].clone();
        let Some(gossip) = self.machines(by).and_then(|machines| machines.gossip.as_mut()) else { return };
        let Ok((id, _)) = gossip.publish(now, name, Bytes::from(payload)) else { return };
        let number = self.published.messages.len();
        self.published.messages.push(Sent { id, topic, by, at: time });
        self.tally.talk.published += 1;
        self.queue.push(time + DEADLINE, Event::Task(Task::Judge(number)));
        self.pump(by);
    }

    /// Counts the deliveries of a message at its deadline.
    pub(crate) fn judge(&mut self, number: usize) {
        let Sent { id, topic, by, at } = self.published.messages[number];
        for (node, since) in &self.published.subscribers[topic] {
            let Some(machines) = &mut self.nodes[*node as usize].machines else { continue };
            let received = machines.received.remove(&id);
            if *node == by || since + SETTLED > at {
                continue;
            }
            self.tally.talk.expected += 1;
            if let Some(received) = received {
                self.tally.talk.delivered += 1;
                self.tally.talk.took_ms.push(((received - at) / MS) as u32);
            }
        }
    }
}
