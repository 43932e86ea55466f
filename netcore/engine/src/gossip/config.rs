//! The configuration of gossip: sizes of views, intervals and limits, each with the reason for its default. The page
//! on gossip in `docs/decisions/` has what the simulator measured with other values.

use std::time::Duration;

/// Configuration of a [`super::Gossip`]. Nodes use the defaults.
#[derive(Debug, Clone, Copy)]
pub struct GossipConfig {
    /// Neighbours sought per topic. 5 is HyParView's view for 10,000 nodes, log10(n) + 1: if a random half of all
    /// nodes leaves, a node loses all five with probability 1/32.
    pub neighbours: usize,
    /// Neighbours beyond which a `Join` is refused. A third of the nodes cannot be dialed and takes its five places
    /// among the others: 2.5 of each, beside the five it seeks; the rest is reserve.
    pub most_neighbours: usize,
    /// Other subscribers remembered per topic, to replace neighbours: HyParView's passive view, six times the active
    /// one.
    pub known: usize,
    /// Delay of announcements, so that one frame announces a burst of messages. It is below the shortest wait of the
    /// receiver, half of `want_delay`.
    pub have_delay: Duration,
    /// Wait for an announced message before it is requested, multiplied by a random 0.5 to 2.5, and wait after each
    /// request. Half of it is just above the longest round trip of the simulated world,
    /// 0.32 s: a shorter one requests messages that are still in flight, a longer one delays the recovery of lost
    /// ones.
    pub want_delay: Duration,
    /// Interval of comparisons while buckets of the recent past are incomplete: a third of a bucket. Chosen, not
    /// measured.
    pub digest: Duration,
    /// Interval of keepalives between neighbours; a neighbour that was silent for three is dropped. QUIC notices a
    /// lost connection after 15 s, so that this finds only peers whose gossip has stopped: rare is enough, and costs
    /// some 110 bytes per neighbour and minute.
    pub heartbeat: Duration,
    /// Interval of exchanges of known subscribers with a neighbour: seven records each way, so that a node sees as
    /// many as it remembers about every five minutes.
    pub shuffle: Duration,
    /// Interval of replacing one neighbour, so that partitions of a topic merge. Chosen, not measured: all five are
    /// replaced within 25 minutes.
    pub refresh: Duration,
    /// First wait between two searches for subscribers while there are too few neighbours; it doubles up to
    /// `refresh`. Longer than most lookups in the DHT: half take under 0.7 s in the simulator.
    pub find: Duration,
    /// How long a message is available to neighbours after its arrival: a node that lost its connection notices after
    /// 15 s and compares with each neighbour every `heartbeat`, so that it is compared with twice.
    pub keep: Duration,
    /// Time for a plugin's verdict, by `SPEC.md`; then the message is ignored.
    pub judge: Duration,
    /// Hops by which an announced path must be shorter than the pushed one for the tree to change. Chosen; the
    /// simulator's topics show no gain from it.
    pub shortcut: u8,
    /// Topics that a node takes part in: eight plugins with the most topics that a session may have.
    pub topics: usize,
    /// Bytes of messages kept per topic: 128 of the largest, or two seconds of what one node may publish.
    pub topic_bytes: usize,
    /// Bytes of messages kept in all topics: eight that are full. What a small machine can spare.
    pub total_bytes: usize,
    /// Message ids remembered per topic: 18 a second for the 900 s for which a message may arrive.
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
