//! Peer exchange, `exchange/1`: questions to peers for other nodes' address records, and the answers. Pure. Only
//! records signed by their owners are passed on and used. So nobody can name a node that did not sign its addresses, or
//! send others to an address that is no node's.
//!
//! A node passes on only records of nodes that it has talked with: those that it got from their owners on a link
//! ([`Exchange::learn`]), and those of its neighbours in the DHT, which have answered there. The peers of a full node
//! are likely as old and as full as itself; its neighbours in the DHT are as full as any other node. Netcore's
//! `discovery` asks peers, and answers the questions that its `query` receives.
//!
//! Peers are asked on their links. A node that refused a link with `busy` is asked on a query connection, so that a
//! network whose seeds are full still takes in newcomers ([`Exchange::may_ask_full`]).

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

/// Most records in one reply, about 10 KiB: enough to reach the low watermark from one reply.
pub const MAX_RECORDS: usize = 32;
/// Largest reply, bytes: 32 of the largest records, with 8 addresses of 22 bytes each.
pub const MAX_REPLY: usize = 16 << 10;
/// Shortest time between two questions to one peer, and between two answers to one peer.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// How much shorter than [`INTERVAL`] the time between two questions may be: clocks differ, and so do delays.
const TOLERANCE: Duration = Duration::from_secs(5);
/// Most full nodes asked at a time: enough for a newcomer, which may be refused by hundreds of full nodes at once.
const FULL_AT_ONCE: usize = 4;
/// Timeout of a question to a full node. The timeouts of its connection and of its answer are shorter.
const FULL_PATIENCE: Duration = Duration::from_secs(10);
/// Most records to pass on, of about 300 bytes each: far more than peers at one time.
const MAX_KNOWN: usize = 1024;
/// Most peers whose latest question is remembered, for each direction; a further one replaces the one with the oldest
/// question.
const MAX_REMEMBERED: usize = 4096;
/// Most records from one public subnet in a reply, while there are others.
const PER_SUBNET: usize = 2;
/// How long a node's record is passed on after its connection ended: long enough to outlast a restart of either side.
const FRESH: Duration = Duration::from_secs(3600);

/// A question for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The number of records wanted; more than [`MAX_RECORDS`] means [`MAX_RECORDS`].
    pub count: u32,
}

/// Why a question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The asker asked less than [`INTERVAL`] ago. A node that was restarted may do so.
    #[error("asked again too soon; one question a minute is answered")]
    TooSoon,
    /// The asker asks far more often than restarts explain.
    #[error("asked again and again too soon; one question a minute is answered")]
    Flood,
    /// The payload is not a question.
    #[error("it is not a question for records")]
    Malformed,
}

/// The outcome of a reply's checks.
#[derive(Debug, Default)]
pub struct Reply {
    /// The valid records, one per node, none of the peer that replied or of this node.
    pub records: Vec<Arc<AddressRecord>>,
    /// Number of broken rules: an honest peer breaks none.
    pub lies: u64,
    /// Number of records without use here: with an invalid time, repeated, of the peer or of this node, or misplaced.
    /// Honest peers send such records, too.
    pub useless: u64,
    /// Of the useless ones, those of a zone that may not be told here. Behind a NAT two nodes may see each other in
    /// zones that the other cannot know; so this is not a lie.
    pub misplaced: u64,
}

#[derive(Debug)]
struct Known {
    record: Arc<AddressRecord>,
    heard: Instant,
    is_connected: bool,
}

/// The records to pass on, and who asked and was asked when.
pub struct Exchange {
    keys: SharedKeys,
    /// By node and zone: a node has one record per zone.
    known: BTreeMap<(NodeId, Zone), Known>,
    answered: Askers,
    asked: Remembered,
    /// The full nodes being asked, each with the time of the question; at most [`FULL_AT_ONCE`].
    asking_full: BTreeMap<NodeId, Instant>,
    random: StdRng,
}

impl Exchange {
    /// Creates one without records. `seed` is the random seed.
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

    /// Adds a peer's own record, which the peer sent on its link and which was checked. Beyond [`MAX_KNOWN`] it
    /// replaces the one heard of least recently.
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

    /// The connection with a peer was just made or has just ended. Its record is still passed on for [`FRESH`] after
    /// the end.
    pub fn seen(&mut self, now: Now, node: &NodeId, is_connected: bool) {
        for zone in [Zone::Loopback, Zone::Private, Zone::Public] {
            if let Some(known) = self.known.get_mut(&(*node, zone)) {
                known.heard = now.at;
                known.is_connected = is_connected;
            }
        }
    }

    /// Removes the records of `node`: it is blocked or banned, or has sent lies.
    pub fn forget(&mut self, node: &NodeId) {
        self.known.retain(|(known, _), _| known != node);
    }

    /// Decides whether a question of `asker` is answered; returns the number of records for [`Self::reply`].
    pub fn admit(&mut self, now: Now, asker: &NodeId, payload: &[u8]) -> Result<usize, Refusal> {
        self.answered.enter(now, *asker)?;
        let request: Request = codec::decode(payload).map_err(|_| Refusal::Malformed)?;
        Ok(usize::try_from(request.count).unwrap_or(MAX_RECORDS).min(MAX_RECORDS))
    }

    /// The encoded answer to `asker` at `ip`: at most `wanted` records whose zone may be told there, of peers and of
    /// `neighbours` (in the DHT) in turn, at random, few of each subnet first.
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
        // A few of each subnet come first, then the others while there is room.
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

    /// Whether `peer` may be asked now; if so, it counts as asked.
    pub fn may_ask(&mut self, now: Now, peer: &NodeId) -> bool {
        self.asked.enter(now, *peer, INTERVAL)
    }

    /// Whether to ask `node`, which refused a link with `busy`, for other nodes on a query connection. That is so only
    /// while more peers are wanted (`is_hungry`), no more often than with any peer, and with at most [`FULL_AT_ONCE`]
    /// at a time. If so, it counts as being asked until [`Self::full_answered`].
    pub fn may_ask_full(&mut self, now: Now, node: &NodeId, is_hungry: bool) -> bool {
        self.asking_full.retain(|_, since| *since + FULL_PATIENCE > now.at);
        let may = is_hungry && self.asking_full.len() < FULL_AT_ONCE && self.may_ask(now, node);
        if may {
            self.asking_full.insert(*node, now.at);
        }
        may
    }

    /// The question that [`Self::may_ask_full`] allowed has ended, with or without an answer.
    pub fn full_answered(&mut self, node: &NodeId) {
        self.asking_full.remove(node);
    }

    /// An encoded question for `count` records.
    pub fn question(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let request = Request { count: count.min(MAX_RECORDS) as u32 };
        codec::encode(&request, &mut bytes).expect("a number is small");
        bytes
    }

    /// Checks the reply of `from`, which is at `ip`. It verifies at most [`MAX_RECORDS`] signatures.
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
            // A peer on the same network may name private addresses; those of a public peer are in another network.
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
        // The peer gains nothing by the order that it chose.
        reply.records.shuffle(&mut self.random);
        reply
    }

    /// Chooses at most `count` of the `connected` peers to ask, at random, none of them sooner than [`INTERVAL`] after
    /// its last question. They count as asked.
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

/// The time of the latest event of each of at most [`MAX_REMEMBERED`] peers.
#[derive(Debug, Default)]
struct Remembered(BTreeMap<NodeId, Instant>);

impl Remembered {
    fn is_within(&self, now: Now, peer: &NodeId, interval: Duration) -> bool {
        self.0.get(peer).is_some_and(|at| *at + interval > now.at)
    }

    /// Notes an event of `peer` now. Returns `false`, and notes nothing, if the latest one was less than `interval`
    /// ago.
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
