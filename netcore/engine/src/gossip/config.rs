//! How a node takes part in gossip: sizes of views, times and limits, with the reasons for their values.

use std::time::Duration;

/// What a [`super::Gossip`] is made with. The defaults are what nodes use.
#[derive(Debug, Clone, Copy)]
pub struct GossipConfig {
    /// Neighbours sought in each topic: with five, a random half may fail and most nodes still have one.
    pub neighbours: usize,
    /// Neighbours beyond which nobody else is taken: nodes that nobody can dial find a place at those that can be.
    pub most_neighbours: usize,
    /// Other subscribers remembered in each topic, to replace neighbours by.
    pub known: usize,
    /// How long new messages' names wait for others before neighbours are told of them.
    pub have_delay: Duration,
    /// How long a message is waited for after the first neighbour said that it has it, and after each request.
    pub want_delay: Duration,
    /// Between two comparisons of the recent past with a neighbour, while there is something to compare.
    pub digest: Duration,
    /// Between two signs of life of a neighbour in a quiet topic.
    pub heartbeat: Duration,
    /// Between two exchanges of known subscribers with a neighbour.
    pub shuffle: Duration,
    /// Between two changes of a neighbour for another, so that overlays that came apart grow together.
    pub refresh: Duration,
    /// Before subscribers are looked for again while there are too few neighbours; doubles up to `refresh`.
    pub find: Duration,
    /// How long a message can be had from this node after it came.
    pub keep: Duration,
    /// How long a plugin has to judge a message.
    pub judge: Duration,
    /// How much longer hops of a pushed message must be than of the same message named, for the tree to change.
    pub shortcut: u8,
    /// Topics a node takes part in: eight plugins of the most topics a session may have.
    pub topics: usize,
    /// Bytes of messages kept in one topic.
    pub topic_bytes: usize,
    /// Bytes of messages kept in all topics.
    pub total_bytes: usize,
    /// Names of messages remembered in one topic: eighteen a second for as long as a message may come.
    pub topic_names: usize,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            neighbours: 5,
            most_neighbours: 10,
            known: 30,
            have_delay: Duration::from_millis(250),
            want_delay: Duration::from_millis(700),
            digest: Duration::from_secs(5),
            heartbeat: Duration::from_secs(60),
            shuffle: Duration::from_secs(120),
            refresh: Duration::from_secs(300),
            find: Duration::from_secs(5),
            keep: Duration::from_secs(120),
            judge: Duration::from_secs(10),
            shortcut: 4,
            topics: 512,
            topic_bytes: 8 << 20,
            total_bytes: 64 << 20,
            topic_names: 16 << 10,
        }
    }
}
