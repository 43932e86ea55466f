//! What the topics of a node share: its peers, its own address, its clockwork, and the way out.

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

/// Peers being connected at once for all topics: as many as a handful of new topics needs.
const MAX_DIALS: usize = 16;
/// Nobody said anything of a dial for this long: the place is given to another.
const DIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A peer that is being connected.
#[derive(Debug)]
struct Dial {
    until: Instant,
    topics: BTreeSet<TopicId>,
}

/// What the topics of a node share.
pub(super) struct Common {
    pub(super) keys: SharedKeys,
    pub(super) me: NodeId,
    pub(super) config: GossipConfig,
    pub(super) rng: StdRng,
    /// This node's own records, each of one zone.
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

    /// What is to be done next. Frames beyond what their receiver looks at are dropped here: it makes up for them as for
    /// all that the network loses.
    pub(super) fn poll(&mut self, now: Now) -> Option<Output> {
        loop {
            let output = self.outputs.pop_front()?;
            let Output::Send { to, frame } = &output else { return Some(output) };
            let Some(peer) = self.peers.get_mut(to) else { continue }; // it went meanwhile
            if peer.takes(frame.size(), now.at) {
                return Some(output);
            }
            self.stats.paced += 1;
        }
    }

    /// Sends a frame, if the peer is up.
    pub(super) fn send(&mut self, to: NodeId, frame: Frame) {
        if self.peers.contains_key(&to) {
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    /// Whether a frame of a peer is looked at. Fails when it sends far more than anybody needs to.
    pub(super) fn reads(&mut self, peer: NodeId, size: usize, now: Now) -> Result<bool, Misbehaviour> {
        let Some(known) = self.peers.get_mut(&peer) else { return Ok(false) };
        if known.is_read(size, now.at) {
            return Ok(true);
        }
        self.stats.dropped_fast += 1;
        if known.exceeds(now.at) { Err(Misbehaviour::TooFast) } else { Ok(false) }
    }

    /// Whether a peer may do so much now.
    pub(super) fn may(&mut self, peer: NodeId, kind: Kind, amount: usize, now: Now) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let may = known.may(kind, amount, now.at);
        self.stats.dropped_fast += u64::from(!may);
        may
    }

    /// Whether one more message may be sent to a peer, whole or by name.
    pub(super) fn may_send(&mut self, peer: NodeId, kind: Kind, now: Now) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let may = known.may(kind, 1, now.at);
        self.stats.paced += u64::from(!may);
        may
    }

    /// A peer passed on a message that was new and right.
    pub(super) fn credit(&mut self, peer: NodeId, now: Now) {
        if self.peers.get_mut(&peer).is_some_and(|known| known.is_credited(now.at)) {
            self.output(Output::Credit { peer });
        }
    }

    /// The peer is a neighbour in one more topic.
    pub(super) fn keep(&mut self, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.uses += 1;
            if known.uses == 1 {
                self.outputs.push_back(Output::Keep { peer });
            }
        }
    }

    /// The peer is a neighbour in one topic less.
    pub(super) fn release(&mut self, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.uses = known.uses.saturating_sub(1);
            if known.uses == 0 {
                self.outputs.push_back(Output::Release { peer });
            }
        }
    }

    /// A span of time near this one, so that nodes do not do the same at the same moment: three to five quarters.
    pub(super) fn about(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// A number below `count`, which is not 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    /// Whether a peer is being connected.
    pub(super) fn dials(&self, peer: &NodeId) -> bool {
        self.dials.contains_key(peer)
    }

    /// How many peers are being connected for a topic.
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
        self.timers.by(None, Work::Dials, until);
        self.outputs.push_back(Output::Connect { record: Arc::clone(record) });
        true
    }

    /// A dial ended. The topics it was for.
    pub(super) fn dialed(&mut self, peer: &NodeId) -> BTreeSet<TopicId> {
        self.dials.remove(peer).map(|dial| dial.topics).unwrap_or_default()
    }

    /// Peers of whose dials nothing was heard for too long.
    pub(super) fn overdue(&mut self, now: Now) -> Vec<NodeId> {
        let overdue = self.dials.iter().filter(|(_, dial)| dial.until <= now.at).map(|(peer, _)| *peer).collect();
        if let Some(next) = self.dials.values().map(|dial| dial.until).filter(|until| *until > now.at).min() {
            self.timers.by(None, Work::Dials, next);
        }
        overdue
    }

    /// This node's record for a peer in `zone`.
    pub(super) fn own_for(&self, zone: Zone) -> Option<Arc<AddressRecord>> {
        let mut told = self.own.iter().filter(|record| record.zone().is_told_to(zone));
        told.clone().find(|record| record.zone() == zone).or_else(|| told.next()).cloned()
    }

    /// Whether a record that a peer sent may be used. Fails when it is a lie.
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
        // Nobody out there knows what an address of this network means, and neither side can tell how the other sees it:
        // of no use, and no lie.
        let usable = self.peers.get(&from).is_some_and(|peer| {
            // Nor does anybody sign that it is where others are, for all subscribers to send packets there.
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

    /// Picks at most [`MAX_RECORDS`] of `records` for a peer: none of itself, none that means nothing where it is.
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
