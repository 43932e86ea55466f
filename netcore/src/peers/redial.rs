//! When to try remembered peers again: soon after a connection is lost, then more and more rarely. Pure: time and
//! randomness are given.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Wait after many: a peer that comes back is found within this time, and costs a packet or two each.
const LONGEST: Duration = Duration::from_secs(600);
/// Dials of this kind at once: after a long time offline all peers are due.
const MAX_RUNNING: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    Dialing,
}

/// See the module. Bounded by the book, whose nodes it schedules.
#[derive(Debug, Default)]
pub struct Redial {
    peers: HashMap<NodeId, (State, u32)>,
}

impl Redial {
    /// Schedules a peer that is not connected, unless it is scheduled already. `jitter` is from 0 to 1.
    pub fn schedule(&mut self, node: NodeId, now: Instant, jitter: f64) {
        self.peers.entry(node).or_insert_with(|| (State::Due(now + FIRST.mul_f64(jitter)), 0));
    }

    /// The peer is connected, blocked or forgotten.
    pub fn remove(&mut self, node: &NodeId) {
        self.peers.remove(node);
    }

    /// A dial failed. The wait doubles each time; `jitter` from 0 to 1 spreads it from half of that to one and a half.
    pub fn failed(&mut self, node: &NodeId, now: Instant, jitter: f64) {
        if let Some((state, failures)) = self.peers.get_mut(node) {
            let wait = FIRST.saturating_mul(1 << (*failures).min(16)).min(LONGEST);
            *failures += 1;
            *state = State::Due(now + wait.mul_f64(0.5 + jitter));
        }
    }

    /// A peer to dial now.
    pub fn poll(&mut self, now: Instant) -> Option<NodeId> {
        if self.running() >= MAX_RUNNING {
            return None;
        }
        let (node, at) = self.first()?;
        if at > now {
            return None;
        }
        self.peers.get_mut(&node)?.0 = State::Dialing;
        Some(node)
    }

    /// When to poll again; `None`: when something changes.
    pub fn next(&self) -> Option<Instant> {
        if self.running() >= MAX_RUNNING { None } else { self.first().map(|(_, at)| at) }
    }

    fn running(&self) -> usize {
        self.peers.values().filter(|(state, _)| *state == State::Dialing).count()
    }

    fn first(&self) -> Option<(NodeId, Instant)> {
        let due = self.peers.iter().filter_map(|(node, (state, _))| match state {
            State::Due(at) => Some((*node, *at)),
            State::Dialing => None,
        });
        due.min_by_key(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.schedule(node(1), start, 0.0);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(redial.poll(now), Some(node(1)));
            redial.failed(&node(1), now, 0.5);
            let next = redial.next().expect("scheduled");
            waits.push((next - now).as_secs());
            assert_eq!(redial.poll(next - Duration::from_millis(1)), None);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn jitter_spreads_the_wait_around_its_middle() {
        let start = Instant::now();
        for (jitter, wait) in [(0.0, 500), (0.5, 1000), (1.0, 1500)] {
            let mut redial = Redial::default();
            redial.schedule(node(1), start, 0.0);
            redial.poll(start);
            redial.failed(&node(1), start, jitter);
            assert_eq!(redial.next(), Some(start + Duration::from_millis(wait)));
        }
    }

    #[test]
    fn dials_at_once_are_bounded() {
        let start = Instant::now();
        let mut redial = Redial::default();
        for number in 0..20 {
            redial.schedule(node(number), start, 0.0);
        }
        let running: Vec<_> = std::iter::from_fn(|| redial.poll(start)).collect();
        assert_eq!((running.len(), redial.next()), (MAX_RUNNING, None));
        redial.remove(&running[0]);
        assert!(redial.poll(start).is_some());
    }

    #[test]
    fn scheduling_again_does_not_shorten_a_wait() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.schedule(node(1), start, 0.0);
        redial.poll(start);
        redial.failed(&node(1), start, 0.5);
        redial.schedule(node(1), start, 0.0);
        assert_eq!(redial.poll(start), None);
    }
}
