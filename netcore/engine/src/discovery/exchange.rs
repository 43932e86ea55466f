//! Peer exchange, `exchange/1`: asking a peer for other nodes' address records, and answering. Pure. What is told and
//! believed are records signed by their owners and nothing else, so that nobody can name nodes that did not ask for it,
//! or lead others to an address that is not a node's.
//!
//! Only records of nodes that this node talked with are passed on: those that it got from their owners on a link
//! ([`Exchange::learn`]), and those of its neighbours in the hash table, which answered there. Peers of a node that is
//! full are as old as itself, and full; its neighbours are as any other node. Netcore's `discovery` asks, and answers
//! the questions that its `query` receives.
//!
//! Peers are asked on their links. A node that refused a link as `busy` is asked over a query connection, so that a
//! network whose seeds are full takes newcomers in all the same: [`Exchange::may_ask_full`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::ids::NodeId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::address::{AddressRecord, BadRecord, Subnet, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;
use askers::Askers;

/// Records in one reply: enough to fill a node's peers from one; 10 KiB.
pub const MAX_RECORDS: usize = 32;
/// Largest reply, bytes: 32 of the largest records, which have 8 addresses of 22 bytes each.
pub const MAX_REPLY: usize = 16 << 10;
/// Time between two questions to one peer, and between two of one peer that are answered.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// Of [`INTERVAL`], what an asker's clock may run fast.
const TOLERANCE: Duration = Duration::from_secs(5);
/// Full nodes asked at a time: as many as bring a newcomer in, where hundreds of them are met at once.
const FULL_AT_ONCE: usize = 4;
/// A question to a full node is over after this long, whatever becomes of it: its connection and its answer have less.
const FULL_PATIENCE: Duration = Duration::from_secs(10);
/// Records that can be told. 300 bytes each; far more than peers at one time.
const MAX_KNOWN: usize = 1024;
/// Peers whose last question is remembered, for each direction; the one that asked longest ago makes room.
const MAX_REMEMBERED: usize = 4096;
/// Records from one public subnet in a reply, while there are others.
const PER_SUBNET: usize = 2;
/// How long a node is told of after its connection ended: long enough to outlast a restart of ours or of its own.
const FRESH: Duration = Duration::from_secs(3600);

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// How many records are wanted; more than [`MAX_RECORDS`] means that many.
    pub count: u32,
}

/// Why a question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It asked before, less than [`INTERVAL`] ago, as a node may that was restarted.
    #[error("asked again too soon; one question a minute is answered")]
    TooSoon,
    /// It asks far more often than restarts explain.
    #[error("asked again and again too soon; one question a minute is answered")]
    Flood,
    /// It is no question.
    #[error("it is not a question for records")]
    Malformed,
}

/// What came of a reply.
#[derive(Debug, Default)]
pub struct Reply {
    /// Good ones, each of another node, none of the peer that replied or of this node.
    pub records: Vec<Arc<AddressRecord>>,
    /// Rules it breaks: no honest peer sends such a thing.
    pub lies: u64,
    /// Records that are old or known to be, or of no use here. Honest peers send those too.
    pub useless: u64,
    /// Of these, records of a zone that is not told here. Where addresses are translated between two nodes, each may
    /// see the other in a zone that the other cannot know of: that is nobody's lie.
    pub misplaced: u64,
}

#[derive(Debug)]
struct Known {
    record: Arc<AddressRecord>,
    heard: Instant,
    is_connected: bool,
}

/// See the module.
pub struct Exchange {
    keys: SharedKeys,
    /// By node and zone: a node has one record for each.
    known: BTreeMap<(NodeId, Zone), Known>,
    answered: Askers,
    asked: Remembered,
    /// Full nodes that are being asked, and since when; at most [`FULL_AT_ONCE`].
    asking_full: BTreeMap<NodeId, Instant>,
    random: StdRng,
}

impl Exchange {
    /// One that knows nobody.
    pub fn new(keys: SharedKeys, seed: [u8; 32]) -> Self {
        Self {
            keys,
            known: BTreeMap::new(),
            answered: Askers::default(),
            asked: Remembered::default(),
            asking_full: BTreeMap::new(),
            random: StdRng::from_seed(seed),
        }
    }

    /// A peer's own record, which it sent on the link that stands, and whose check succeeded. Full, the one heard of
    /// longest ago makes room.
    pub fn learn(&mut self, now: Now, record: Arc<AddressRecord>) {
        let place = (record.node, record.zone());
        if self.known.get(&place).is_some_and(|known| known.record.sequence > record.sequence) {
            return;
        }
        self.known.insert(place, Known { record, heard: now.at, is_connected: true });
        if self.known.len() > MAX_KNOWN
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, known)| (known.is_connected, known.heard)).map(|(place, _)| *place)
        {
            self.known.remove(&oldest);
        }
    }

    /// The connection with a peer stands from now on, or has ended just now. For a while after that it is still worth
    /// telling others of.
    pub fn seen(&mut self, now: Now, node: &NodeId, is_connected: bool) {
        for zone in [Zone::Loopback, Zone::Private, Zone::Public] {
            if let Some(known) = self.known.get_mut(&(*node, zone)) {
                known.heard = now.at;
                known.is_connected = is_connected;
            }
        }
    }

    /// The operator blocked it, or it lied: nobody is told of it.
    pub fn forget(&mut self, node: &NodeId) {
        self.known.retain(|(known, _), _| known != node);
    }

    /// How many records a question of `asker` is to be answered with ([`Self::reply`]), if it may ask at all.
    pub fn admit(&mut self, now: Now, asker: &NodeId, payload: &[u8]) -> Result<usize, Refusal> {
        self.answered.enter(now, *asker)?;
        let request: Request = codec::decode(payload).map_err(|_| Refusal::Malformed)?;
        Ok(usize::try_from(request.count).unwrap_or(MAX_RECORDS).min(MAX_RECORDS))
    }

    /// The answer to `asker` at `ip`: records that mean something where it is, of peers and of `neighbours` by turns,
    /// chosen by chance, few of each subnet.
    pub fn reply(
        &mut self,
        now: Now,
        asker: &NodeId,
        ip: IpAddr,
        wanted: usize,
        neighbours: &[Arc<AddressRecord>],
    ) -> Vec<u8> {
        let records = self.choose(now, asker, Zone::of(ip), wanted, neighbours);
        let mut reply = Vec::new();
        codec::encode(&records.iter().map(|record| &**record).collect::<Vec<_>>(), &mut reply)
            .expect("a few records are small");
        reply
    }

    fn choose(
        &mut self,
        now: Now,
        asker: &NodeId,
        zone: Zone,
        wanted: usize,
        neighbours: &[Arc<AddressRecord>],
    ) -> Vec<Arc<AddressRecord>> {
        let fresh = |known: &Known| known.is_connected || known.heard + FRESH > now.at;
        self.known.retain(|_, known| fresh(known) && !known.record.is_expired(now));
        let fits =
            |record: &AddressRecord| record.node != *asker && record.zone().is_told_to(zone) && !record.is_expired(now);
        let mut peers: Vec<_> = self.known.values().map(|known| &known.record).filter(|record| fits(record)).collect();
        let is_peer = |node: NodeId| peers.iter().any(|peer| peer.node == node);
        let others = neighbours.iter().filter(|record| fits(record) && !is_peer(record.node));
        let mut others: Vec<_> = others.collect();
        peers.shuffle(&mut self.random);
        others.shuffle(&mut self.random);
        let (mut peers, mut others) = (peers.into_iter(), others.into_iter());
        let all = std::iter::from_fn(|| match [peers.next(), others.next()] {
            [None, None] => None,
            both => Some(both.into_iter().flatten()),
        });
        // First a few of each subnet, then the others while there is room.
        let mut counts: BTreeMap<Subnet, usize> = BTreeMap::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for record in all.flatten() {
            let ip = record.addresses.first().map(|address| address.ip());
            let crowded = ip.filter(|ip| Zone::of(*ip) == Zone::Public).is_some_and(|ip| {
                let count = counts.entry(Subnet::of(ip)).or_default();
                *count += 1;
                *count > PER_SUBNET
            });
            if crowded { rest.push(record) } else { first.push(record) }
        }
        first.into_iter().chain(rest).take(wanted).cloned().collect()
    }

    /// Whether `peer` may be asked now; then it counts as asked.
    pub fn may_ask(&mut self, now: Now, peer: &NodeId) -> bool {
        self.asked.enter(now, *peer, INTERVAL)
    }

    /// `node` refused a link as `busy`. Whether to ask it for others now, over a query connection: only while more
    /// peers are wanted, as often as any peer, and few such nodes at a time. Then it counts as asked, until
    /// [`Self::full_answered`].
    pub fn may_ask_full(&mut self, now: Now, node: &NodeId, is_hungry: bool) -> bool {
        self.asking_full.retain(|_, since| *since + FULL_PATIENCE > now.at);
        let may = is_hungry && self.asking_full.len() < FULL_AT_ONCE && self.may_ask(now, node);
        if may {
            self.asking_full.insert(*node, now.at);
        }
        may
    }

    /// The question that [`Self::may_ask_full`] allowed is over, either way.
    pub fn full_answered(&mut self, node: &NodeId) {
        self.asking_full.remove(node);
    }

    /// A question.
    pub fn question(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let request = Request { count: count.min(MAX_RECORDS) as u32 };
        codec::encode(&request, &mut bytes).expect("a number is small");
        bytes
    }

    /// Looks at the reply of `from`, which is at `ip`. At most [`MAX_RECORDS`] signatures are checked.
    pub fn take(&mut self, now: Now, from: &NodeId, ip: IpAddr, payload: &[u8]) -> Reply {
        let liar = Reply { lies: 1, ..Reply::default() };
        if payload.len() > MAX_REPLY {
            return liar;
        }
        let Ok(records) = codec::decode::<Vec<AddressRecord>>(payload) else { return liar };
        if records.len() > MAX_RECORDS {
            return liar;
        }
        let mut reply = Reply::default();
        for record in records {
            // A peer on the same network tells of private addresses; what a public one calls private is elsewhere.
            let misplaced = !record.zone().is_told_to(Zone::of(ip));
            match record.check(&*self.keys, now) {
                Err(BadRecord::Addresses | BadRecord::Signature) => reply.lies += 1,
                Err(BadRecord::Time) => reply.useless += 1,
                Ok(()) if misplaced => {
                    reply.useless += 1;
                    reply.misplaced += 1;
                }
                Ok(()) => {
                    let known = record.node == *from
                        || record.node == self.keys.node()
                        || reply.records.iter().any(|other| other.node == record.node);
                    if known { reply.useless += 1 } else { reply.records.push(Arc::new(record)) }
                }
            }
        }
        // Whoever chose the order gains nothing by it.
        reply.records.shuffle(&mut self.random);
        reply
    }

    /// Peers to ask, of those that are connected: by chance, and each not more often than it answers.
    pub fn choose_peers(&mut self, now: Now, mut connected: Vec<NodeId>, count: usize) -> Vec<NodeId> {
        connected.sort_unstable();
        connected.shuffle(&mut self.random);
        connected.retain(|peer| !self.asked.is_within(now, peer, INTERVAL));
        connected.truncate(count);
        for peer in &connected {
            self.asked.enter(now, *peer, INTERVAL);
        }
        connected
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

/// When a peer did something last.
#[derive(Debug, Default)]
struct Remembered(BTreeMap<NodeId, Instant>);

impl Remembered {
    fn is_within(&self, now: Now, peer: &NodeId, interval: Duration) -> bool {
        self.0.get(peer).is_some_and(|at| *at + interval > now.at)
    }

    /// `false`: it did it less than `interval` ago. Otherwise it does it now.
    fn enter(&mut self, now: Now, peer: NodeId, interval: Duration) -> bool {
        if self.is_within(now, &peer, interval) {
            return false;
        }
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&peer) {
            self.0.retain(|_, at| *at + interval > now.at);
            if self.0.len() >= MAX_REMEMBERED
                && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer)
            {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(peer, now.at);
        true
    }
}

mod askers;
#[cfg(test)]
mod tests;
