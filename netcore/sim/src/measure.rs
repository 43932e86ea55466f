//! Measurements of a run: success and cost of lookups, deliveries of messages, and percentiles.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::NodeId;

use crate::queue::Micros;

/// Bytes of one handshake, both directions together: two flights of TLS 1.3 with raw public keys, QUIC's padding of
/// first packets to 1,200 bytes, acknowledgements.
pub const HANDSHAKE_BYTES: u64 = 4096;
/// Overhead of a packet of 1,200 bytes: IPv4 and UDP (28), QUIC's short header and tag (28), a stream frame and the
/// header of a core stream (20).
pub const PACKET_BYTES: u64 = 76;
/// Payload bytes that fit in one packet.
const PACKET: u64 = 1_124;

/// Bytes on the wire of a message encoded in `length` bytes.
pub fn wire_bytes(length: usize) -> u64 {
    let length = length as u64;
    length + PACKET_BYTES * length.div_ceil(PACKET).max(1)
}

/// Cost of one lookup so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Requests and responses.
    pub messages: u64,
    /// Connections opened for it.
    pub handshakes: u64,
    /// Bytes of both on the wire.
    pub bytes: u64,
    /// Requests without an answer.
    pub failures: u64,
}

/// Distance in hops of each node that a lookup knows from its start: nodes of the own routing table are at 0; nodes
/// named by a node at `d` are at `d + 1`.
#[derive(Debug, Default)]
pub struct Depths {
    known: BTreeMap<NodeId, u32>,
    deepest: u32,
}

impl Depths {
    /// Notes a request to `node`. Returns its depth.
    pub fn asked(&mut self, node: NodeId) -> u32 {
        *self.known.entry(node).or_insert(0)
    }

    /// Notes that a node at `depth` answered and named `nodes`.
    pub fn answered(&mut self, depth: u32, nodes: impl Iterator<Item = NodeId>) {
        self.deepest = self.deepest.max(depth + 1);
        for node in nodes {
            let known = self.known.entry(node).or_insert(depth + 1);
            *known = (*known).min(depth + 1);
        }
    }

    /// Hops to `node`, or to the deepest answer if it was not found.
    pub fn hops(&self, node: Option<NodeId>) -> u32 {
        node.and_then(|node| self.known.get(&node).copied()).unwrap_or(self.deepest)
    }
}

/// Results of the lookups of one kind.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    /// Lookups that ended while requester and target were live.
    pub done: u64,
    /// Those of `done` that succeeded.
    pub found: u64,
    /// Lookups whose requester or target left meanwhile; not counted otherwise.
    pub void: u64,
    hops: u64,
    cost: Cost,
    took: Vec<u32>,
}

impl Lookups {
    /// Counts a lookup that has ended.
    pub fn ended(&mut self, found: bool, hops: u32, cost: Cost, took: Micros) {
        self.done += 1;
        self.found += u64::from(found);
        self.hops += u64::from(hops);
        self.cost.messages += cost.messages;
        self.cost.handshakes += cost.handshakes;
        self.cost.bytes += cost.bytes;
        self.cost.failures += cost.failures;
        self.took.push((took / 1000) as u32);
    }

    /// Adds the lookups of another kind.
    pub fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.found += other.found;
        self.void += other.void;
        self.hops += other.hops;
        self.cost.messages += other.cost.messages;
        self.cost.handshakes += other.cost.handshakes;
        self.cost.bytes += other.cost.bytes;
        self.cost.failures += other.cost.failures;
        self.took.extend(&other.took);
    }

    /// Share that succeeded, 0 to 1; `None` without lookups.
    pub fn success(&self) -> Option<f64> {
        self.mean(self.found)
    }

    /// Mean hops of a lookup.
    pub fn hops(&self) -> Option<f64> {
        self.mean(self.hops)
    }

    /// Mean number of requests and responses of a lookup.
    pub fn messages(&self) -> Option<f64> {
        self.mean(self.cost.messages)
    }

    /// Mean number of connections opened for a lookup.
    pub fn handshakes(&self) -> Option<f64> {
        self.mean(self.cost.handshakes)
    }

    /// Mean bytes of a lookup on the wire.
    pub fn bytes(&self) -> Option<f64> {
        self.mean(self.cost.bytes)
    }

    /// Mean number of unanswered requests of a lookup.
    pub fn failures(&self) -> Option<f64> {
        self.mean(self.cost.failures)
    }

    /// Duration that the share `part` of lookups did not exceed, milliseconds.
    pub fn took_ms(&self, part: f64) -> Option<u64> {
        percentile(self.took.iter().map(|took| u64::from(*took)).collect(), part)
    }

    fn mean(&self, sum: u64) -> Option<f64> {
        (self.done > 0).then(|| sum as f64 / self.done as f64)
    }
}

/// The value that the share `part` of `values` does not exceed (nearest rank).
pub fn percentile(mut values: Vec<u64>, part: f64) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// Deliveries of the messages that a scenario published.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    /// Expected deliveries, over all messages: subscribers since before the message that live at its deadline.
    pub expected: u64,
    /// Those of `expected` that had the message by its deadline.
    pub delivered: u64,
    /// Messages published.
    pub published: u64,
    /// Deliveries in all, the uncounted ones included.
    pub first: u64,
    /// Frames with a payload received.
    pub payloads: u64,
    /// Bytes sent except payloads: all other frames, and the rest of frames with a payload.
    pub control_bytes: u64,
    /// Duration of each delivery, milliseconds.
    pub took_ms: Vec<u32>,
}

impl Deliveries {
    /// Share of expected deliveries made by the deadline, 0 to 1.
    pub fn delivery(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.delivered as f64 / self.expected as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_counted_from_the_own_table() {
        let node = |byte| NodeId([byte; 32]);
        let mut depths = Depths::default();
        let first = depths.asked(node(1));
        depths.answered(first, [node(2), node(3)].into_iter());
        let second = depths.asked(node(2));
        depths.answered(second, [node(3), node(4)].into_iter());
        assert_eq!((first, second), (0, 1));
        assert_eq!([1, 2, 3, 4].map(|byte| depths.hops(Some(node(byte)))), [0, 1, 1, 2]);
        assert_eq!(depths.hops(None), 2);
    }

    #[test]
    fn means_are_over_what_ended() {
        let mut lookups = Lookups::default();
        assert_eq!(lookups.success(), None);
        lookups.ended(true, 2, Cost { messages: 10, ..Cost::default() }, 5_000);
        lookups.ended(false, 4, Cost { messages: 20, ..Cost::default() }, 50_000);
        assert_eq!((lookups.success(), lookups.hops(), lookups.messages()), (Some(0.5), Some(3.0), Some(15.0)));
        assert_eq!((lookups.took_ms(0.5), lookups.took_ms(0.99)), (Some(5), Some(50)));
        assert_eq!(percentile(Vec::new(), 0.5), None);
    }

    #[test]
    fn a_message_is_charged_for_each_of_its_packets() {
        assert_eq!(wire_bytes(0), 76);
        assert_eq!(wire_bytes(1_124), 1_200);
        assert_eq!(wire_bytes(1_125), 1_125 + 152);
    }
}
