//! State that all topics of a node share: its peers, its own address records, timers and the output queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::config::GossipConfig;
use super::message::TopicId;
use super::output::{GossipStats, Misbehaviour, Output};
use super::peer::{Kind, Peer};
use super::timers::{Timers, Work};
use super::wire::{Frame, MAX_RECORDS};
use crate::address::{AddressRecord, BadRecord, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;

/// Peers dialed at a time for all topics: enough for a handful of new topics.
const MAX_DIALS: usize = 16;
/// A dial without a result for this long has failed; its place becomes free.
const DIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A dial in progress, and the topics that asked for it.
#[derive(Debug)]
struct Dial {
    until: Instant,
    topics: BTreeSet<TopicId>,
}

/// State that all topics of a node share.
pub(super) struct Common {
    pub(super) keys: SharedKeys,
    pub(super) me: NodeId,
    pub(super) config: GossipConfig,
    pub(super) rng: StdRng,
    /// This node's own address records, one per zone.
    pub(super) own: Vec<Arc<AddressRecord>>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) timers: Timers,
    pub(super) stats: GossipStats,
    /// Bytes of messages kept in all topics.
    pub(super) bytes: usize,
    dials: BTreeMap<NodeId, Dial>,
    outputs: VecDeque<Output>,
}

impl Common {
    pub(super) fn new(keys: SharedKeys, config: GossipConfig, seed: [u8; 32]) -> Self {
        Self {
            me: keys.node(),
            keys,
            config,
            rng: StdRng::from_seed(seed),
            own: Vec::new(),
            peers: BTreeMap::new(),
            timers: Timers::default(),
            stats: GossipStats::default(),
            bytes: 0,
            dials: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Takes the next output. Frames beyond what their receiver reads are dropped here: repair recovers them like
    /// frames that the network lost.
    pub(super) fn poll(&mut self, now: Now) -> Option<Output> {
        loop {
            let output = self.outputs.pop_front()?;
            let Output::Send { to, frame } = &output else { return Some(output) };
            let Some(peer) = self.peers.get_mut(to) else { continue }; // gone meanwhile
            if peer.takes(frame.size(), now.at) {
                return Some(output);
            }
            self.stats.paced += 1;
        }
    }

    /// Queues a frame, if the peer is connected.
    pub(super) fn send(&mut self, to: NodeId, frame: Frame) {
        if self.peers.contains_key(&to) {
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    /// Whether a frame of a peer is processed. Fails when the peer sends far beyond its rate limit.
    pub(super) fn reads(&mut self, peer: NodeId, size: usize, now: Now) -> Result<bool, Misbehaviour> {
        let Some(known) = self.peers.get_mut(&peer) else { return Ok(false) };
        if known.is_read(size, now.at) {
            return Ok(true);
        }
        self.stats.dropped_fast += 1;
        if known.exceeds(now.at) { Err(Misbehaviour::TooFast) } else { Ok(false) }
    }

    /// Takes `amount` from a peer's rate limit; counts the drop if it is exhausted.
    pub(super) fn may(&mut self, peer: NodeId, kind: Kind, amount: usize, now: Now) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let may = known.may(kind, amount, now.at);
        self.stats.dropped_fast += u64::from(!may);
        may
    }

    /// Whether one more message may be pushed or announced to a peer; counts it if not.
    pub(super) fn may_send(&mut self, peer: NodeId, kind: Kind, now: Now) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let may = known.may(kind, 1, now.at);
        self.stats.paced += u64::from(!may);
        may
    }

    /// Credits a peer for a valid new message that it passed on.
    pub(super) fn credit(&mut self, peer: NodeId, now: Now) {
        if self.peers.get_mut(&peer).is_some_and(|known| known.is_credited(now.at)) {
            self.output(Output::Credit { peer });
        }
    }

    /// Counts one more topic in which the peer is a neighbour.
    pub(super) fn keep(&mut self, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.uses += 1;
            if known.uses == 1 {
                self.outputs.push_back(Output::Keep { peer });
            }
        }
    }

    /// Counts one topic less in which the peer is a neighbour.
    pub(super) fn release(&mut self, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.uses = known.uses.saturating_sub(1);
            if known.uses == 0 {
                self.outputs.push_back(Output::Release { peer });
            }
        }
    }

    /// A random span of 0.75 to 1.25 times `span`, so that nodes do not act at the same moment.
    pub(super) fn jittered(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// A random number below `count`. Panics when `count` is 0.
    pub(super) fn random_below(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    /// Whether a dial to the peer is in progress.
    pub(super) fn dials(&self, peer: &NodeId) -> bool {
        self.dials.contains_key(peer)
    }

    /// Number of dials in progress for a topic.
    pub(super) fn dials_for(&self, topic: &TopicId) -> usize {
        self.dials.values().filter(|dial| dial.topics.contains(topic)).count()
    }

    /// Connects to a subscriber of a topic; `false` when there are too many dials.
    pub(super) fn dial(&mut self, now: Now, topic: TopicId, record: &Arc<AddressRecord>) -> bool {
        if let Some(dial) = self.dials.get_mut(&record.node) {
            dial.topics.insert(topic);
            return true;
        }
        if self.dials.len() >= MAX_DIALS {
            return false;
        }
        let until = now.at + DIAL_TIMEOUT;
        self.dials.insert(record.node, Dial { until, topics: BTreeSet::from([topic]) });
        self.timers.set_earliest(None, Work::Dials, until);
        self.outputs.push_back(Output::Connect { record: Arc::clone(record) });
        true
    }

    /// Ends a dial. Returns the topics that asked for it.
    pub(super) fn dialed(&mut self, peer: &NodeId) -> BTreeSet<TopicId> {
        self.dials.remove(peer).map(|dial| dial.topics).unwrap_or_default()
    }

    /// Peers whose dials timed out.
    pub(super) fn overdue(&mut self, now: Now) -> Vec<NodeId> {
        let overdue = self.dials.iter().filter(|(_, dial)| dial.until <= now.at).map(|(peer, _)| *peer).collect();
        if let Some(next) = self.dials.values().map(|dial| dial.until).filter(|until| *until > now.at).min() {
            self.timers.set_earliest(None, Work::Dials, next);
        }
        overdue
    }

    /// This node's own record to send to a peer in `zone`.
    pub(super) fn own_for(&self, zone: Zone) -> Option<Arc<AddressRecord>> {
        let mut told = self.own.iter().filter(|record| record.zone().is_told_to(zone));
        told.clone().find(|record| record.zone() == zone).or_else(|| told.next()).cloned()
    }

    /// Whether a record that a peer sent may be used. Fails when it breaks the protocol.
    pub(super) fn believe(
        &mut self,
        now: Now,
        from: NodeId,
        record: &Arc<AddressRecord>,
        known: Option<&Arc<AddressRecord>>,
    ) -> Result<bool, Misbehaviour> {
        if known.is_some_and(|known| known == record) {
            return Ok(!record.is_expired(now));
        }
        // An address is valid only in its zone, and neither side can tell in which zone the other sees it: such a
        // record is of no use, but no breach either.
        let usable = self.peers.get(&from).is_some_and(|peer| {
            // Nor may a peer name somebody else's address as its own: all subscribers would send packets there.
            let there = record.node != from || record.may_be_at(peer.ip);
            record.zone().is_told_to(peer.zone) && there
        });
        if !usable {
            self.stats.misplaced_records += 1;
            return Ok(false);
        }
        if record.node == self.me
            || known.is_some_and(|known| known.sequence > record.sequence)
            || !self.may(from, Kind::Record, 1, now)
        {
            return Ok(false);
        }
        match record.check(&*self.keys, now) {
            Ok(()) => Ok(true),
            Err(BadRecord::Time) => {
                self.stats.bad_records += 1;
                Ok(false)
            }
            Err(lie) => {
                self.stats.bad_records += 1;
                Err(lie.into())
            }
        }
    }

    /// Picks at most [`MAX_RECORDS`] random `records` for a peer, this node's own included: none of the peer itself,
    /// none expired, none from a zone that is not told to the peer.
    pub(super) fn pick(
        &mut self,
        now: Now,
        peer: NodeId,
        mut records: Vec<Arc<AddressRecord>>,
    ) -> Vec<Arc<AddressRecord>> {
        let Some(zone) = self.peers.get(&peer).map(|peer| peer.zone) else { return Vec::new() };
        records.retain(|record| record.node != peer && record.zone().is_told_to(zone) && !record.is_expired(now));
        let most = MAX_RECORDS - 1;
        for at in 0..records.len().min(most) {
            let other = self.rng.random_range(at..records.len());
            records.swap(at, other);
        }
        records.truncate(most);
        records.extend(self.own_for(zone));
        records
    }
}
