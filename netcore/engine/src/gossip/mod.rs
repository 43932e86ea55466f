//! Publish and subscribe: messages to all subscribers of a topic.
//!
//! Netcore's `gossip::driver` or the simulator drives [`Gossip`]. `PROTOCOL.md` section 13 defines the frames.
//!
//! ```text
//! driver ──► Gossip ──► topic ──► overlay   who the neighbours are
//!   ▲          │          ├─────► tree      how messages travel among them
//!   └─ Output ─┘          ├─────► repair    how lost ones are found again
//!                         ├─────► judge     what waits for a plugin's verdict
//!                         └─────► offer     what is published without a subscription
//! ```
//!
//! A topic's subscribers form a random graph in which each has a few neighbours. A message is pushed along a tree in
//! that graph and announced to all other neighbours; a node requests an announced message that does not arrive.
//! Neighbours also compare fingerprints of the recent past, which recovers lost messages and those a node missed while
//! it was disconnected.

mod common;
mod config;
pub mod message;
mod output;
mod peer;
#[cfg(test)]
mod tests;
mod timers;
mod topic;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polypeer_ipc_protocol::gateway::{Payload, TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use crate::address::AddressRecord;
use crate::keys::SharedKeys;
use crate::now::Now;
use crate::rate::{Bucket, Rate};
use common::Common;
pub use config::GossipConfig;
pub use message::{Message, MessageId, TopicId};
pub use output::{GossipStats, Misbehaviour, Output, PublishError};
use peer::{Kind, Peer};
use timers::Work;
use topic::Topic;
pub use wire::Frame;
use wire::MAX_TOPICS_TOLD;

/// Delay before peers are told of changed topics, so that one frame tells several changes.
const TELL_DELAY: Duration = Duration::from_millis(100);
/// Interval at which peers are told the topics again, for peers that a change did not reach.
const TELL_AGAIN: Duration = Duration::from_secs(120);

/// Peers at a time: the highest number of links of a node. This limit holds even if the driver forgets to remove peers.
pub const MAX_PEERS: usize = 1024;

/// Messages that this node publishes. This limit and [`PUBLISHED_BYTES`] are at most two thirds of what it sends to one
/// neighbour: the rest is for messages of others.
const PUBLISHED: Rate = Rate { burst: 2000, per_second: 250 };
/// Payload bytes that this node publishes.
const PUBLISHED_BYTES: Rate = Rate { burst: 16 << 20, per_second: 4 << 20 };

/// Rate limits of this node's own messages.
struct Published {
    messages: Bucket,
    bytes: Bucket,
}

impl Published {
    fn new() -> Self {
        Self { messages: Bucket::new(PUBLISHED), bytes: Bucket::new(PUBLISHED_BYTES) }
    }

    fn may(&mut self, bytes: usize, now: Instant) -> bool {
        self.messages.take(1, now) && self.bytes.take(bytes, now)
    }
}

/// Gossip engine of one node, for all its topics.
pub struct Gossip {
    cx: Common,
    topics: BTreeMap<TopicId, Topic>,
    sequence: u64,
    /// `None` until the first message is published.
    published: Option<Published>,
}

impl Gossip {
    /// Makes an engine without topics or peers. `seed` is the random seed.
    pub fn new(keys: SharedKeys, config: GossipConfig, seed: [u8; 32]) -> Self {
        let sequence = u64::from_le_bytes(std::array::from_fn(|at| seed[at])) >> 1;
        Self { cx: Common::new(keys, config, seed), topics: BTreeMap::new(), sequence, published: None }
    }

    /// Sets this node's own address records, one per zone; empty when no peer can dial it.
    pub fn set_own(&mut self, _now: Now, records: Vec<Arc<AddressRecord>>) {
        self.cx.own = records;
        for topic in self.topics.values_mut() {
            topic.announce(&mut self.cx);
        }
    }

    /// Subscribes to a topic, or changes who validates its messages. Has no effect when there are too many topics
    /// ([`GossipConfig::topics`]): ask [`Self::has_room`] first.
    pub fn subscribe(&mut self, now: Now, topic: Name, validation: Validation) {
        if let Ok(topic) = self.topic(now, &topic) {
            let id = topic.id();
            let new = !topic.is_subscribed();
            let Some(topic) = self.topics.get_mut(&id) else { return };
            if new {
                for (&peer, _) in self.cx.peers.iter().filter(|(_, peer)| peer.topics.contains(&id)) {
                    topic.candidate(peer);
                }
                self.cx.timers.set_earliest(None, Work::Tell, now.at + TELL_DELAY);
            }
            topic.subscribe(&mut self.cx, now, validation);
        }
    }

    /// Whether [`Self::subscribe`] has room for this topic.
    pub fn has_room(&self, topic: &Name) -> bool {
        self.topics.len() < self.cx.config.topics || self.topics.contains_key(&TopicId::of(topic))
    }

    /// Unsubscribes from a topic and drops its messages.
    pub fn unsubscribe(&mut self, now: Now, topic: &Name) {
        if let Some(mut topic) = self.topics.remove(&TopicId::of(topic)) {
            topic.leave(&mut self.cx);
            self.cx.timers.set_earliest(None, Work::Tell, now.at + TELL_DELAY);
        }
    }

    /// Finds or makes the topic of this name. Fails at the limit of topics.
    fn topic(&mut self, now: Now, name: &Name) -> Result<&mut Topic, PublishError> {
        let id = TopicId::of(name);
        let limit = self.cx.config.topics;
        if !self.topics.contains_key(&id) && self.topics.len() >= limit {
            self.drop_idle(now);
            if self.topics.len() >= limit {
                return Err(PublishError::TooManyTopics { limit });
            }
        }
        Ok(self.topics.entry(id).or_insert_with(|| Topic::new(id, name.clone())))
    }

    /// Drops topics without a subscription whose published messages have expired.
    fn drop_idle(&mut self, now: Now) {
        let cx = &mut self.cx;
        self.topics.retain(|_, topic| {
            let over = topic.is_over(now);
            if over {
                topic.leave(cx);
            }
            !over
        });
    }

    /// Publishes a message of this node, without delivering it to this node itself. Returns its id and the number of
    /// peers it is sent to at once. Fails when it is too large, when there are too many topics, and beyond 250 messages
    /// or 4 MiB per second (burst: 2,000 messages and 16 MiB).
    pub fn publish(&mut self, now: Now, topic: Name, payload: Bytes) -> Result<(Hash, u32), PublishError> {
        if payload.len() > MAX_GOSSIP {
            return Err(PublishError::TooLarge { length: payload.len() });
        }
        let id = self.topic(now, &topic)?.id();
        if !self.published.get_or_insert_with(Published::new).may(payload.len(), now.at) {
            return Err(PublishError::TooFast);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let message = Arc::new(Message::sign(&*self.cx.keys, topic, self.sequence, Payload(payload), now));
        self.cx.stats.published += 1;
        let Some(topic) = self.topics.get_mut(&id) else { return Ok((message.id(), 0)) };
        if !topic.is_subscribed() {
            for (&peer, _) in self.cx.peers.iter().filter(|(_, peer)| peer.topics.contains(&id)) {
                topic.candidate(peer);
            }
        }
        let peers = topic.publish(&mut self.cx, now, &message);
        self.trim();
        Ok((message.id(), peers))
    }

    /// Drops the oldest messages of the largest topic until all topics together are within the byte limit.
    fn trim(&mut self) {
        while self.cx.bytes > self.cx.config.total_bytes {
            let Some(topic) = self.topics.values_mut().max_by_key(|topic| topic.size().0) else { return };
            let limit = topic.size().0 / 2;
            topic.trim(&mut self.cx, limit);
        }
    }

    /// Finds a message that this node serves to others.
    pub fn message(&self, topic: &Name, id: &Hash) -> Option<Arc<Message>> {
        self.topics.get(&TopicId::of(topic))?.message(&MessageId::of(id))
    }

    /// Applies a plugin's verdict on a message of a topic with [`Validation::Plugin`]; a late verdict is ignored.
    pub fn judge(&mut self, now: Now, topic: &Name, message: Hash, verdict: Verdict) {
        if let Some(topic) = self.topics.get_mut(&TopicId::of(topic)) {
            topic.judge(&mut self.cx, now, MessageId::of(&message), verdict);
        }
    }

    /// Adds a connected peer. `ip` is the source of its packets: it is sent only address records valid in that zone.
    /// Beyond [`MAX_PEERS`] the peer is left out and counted.
    pub fn peer_up(&mut self, now: Now, peer: NodeId, ip: IpAddr) {
        if peer == self.cx.me || self.cx.peers.contains_key(&peer) {
            return;
        }
        if self.cx.peers.len() >= MAX_PEERS {
            self.cx.stats.peers_left_out += 1;
            return;
        }
        self.cx.peers.insert(peer, Peer::new(ip, now.at));
        self.tell(peer);
        for id in self.cx.dialed(&peer) {
            if let Some(topic) = self.topics.get_mut(&id) {
                topic.dialed(&mut self.cx, now, peer);
            }
        }
    }

    /// Removes a peer that is no longer connected.
    pub fn peer_down(&mut self, now: Now, peer: NodeId) {
        let Some(gone) = self.cx.peers.remove(&peer) else { return };
        if gone.uses > 0 {
            self.cx.output(Output::Release { peer });
        }
        for topic in self.topics.values_mut() {
            topic.peer_down(&mut self.cx, now, peer, gone.record.clone());
        }
    }

    /// Reports that a dial failed ([`Output::Connect`]).
    pub fn connect_failed(&mut self, now: Now, peer: NodeId) {
        for id in self.cx.dialed(&peer) {
            if let Some(topic) = self.topics.get_mut(&id) {
                topic.not_dialed(&mut self.cx, now, peer);
            }
        }
    }

    /// Handles a frame of a peer. An error is a breach of the protocol: the caller closes the connection.
    pub fn handle_frame(&mut self, now: Now, from: NodeId, frame: Frame) -> Result<(), Misbehaviour> {
        if let Some(peer) = self.cx.peers.get_mut(&from) {
            peer.hear(now.at);
        }
        if !self.cx.reads(from, frame.size(), now)? {
            return Ok(());
        }
        let id = match &frame {
            Frame::Topics { topics } => {
                self.handle_topics(now, from, topics);
                return Ok(());
            }
            Frame::Push { message, .. } => TopicId::of(message.topic()),
            Frame::Join { topic, .. }
            | Frame::Joined { topic, .. }
            | Frame::Leave { topic }
            | Frame::Shuffle { topic, .. }
            | Frame::Have { topic, .. }
            | Frame::Want { topic, .. }
            | Frame::Prune { topic }
            | Frame::Digest { topic, .. }
            | Frame::List { topic, .. } => *topic,
        };
        let Some(topic) = self.topics.get_mut(&id) else {
            self.cx.stats.dropped_topic += 1;
            // A peer that takes this node for a neighbour is told; an answer is never answered.
            let told = matches!(frame, Frame::Join { .. } | Frame::Push { .. } | Frame::Digest { .. });
            if told && self.cx.may(from, Kind::Request, 1, now) {
                self.cx.send(from, Frame::Leave { topic: id });
            }
            return Ok(());
        };
        topic.handle(&mut self.cx, now, from, frame)?;
        self.trim();
        Ok(())
    }

    fn handle_topics(&mut self, now: Now, from: NodeId, topics: &[TopicId]) {
        let Some(peer) = self.cx.peers.get_mut(&from) else { return };
        let new: BTreeSet<_> = topics.iter().copied().collect();
        let old = std::mem::replace(&mut peer.topics, new.clone());
        for id in old.symmetric_difference(&new) {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.peer_subscribed(&mut self.cx, now, from, new.contains(id));
            }
        }
    }

    /// Tells a peer this node's topics, if there are any or the peer was told some before.
    fn tell(&mut self, peer: NodeId) {
        let subscribed = self.topics.iter().filter(|(_, topic)| topic.is_subscribed());
        let topics: Vec<_> = subscribed.map(|(id, _)| *id).take(MAX_TOPICS_TOLD).collect();
        let Some(known) = self.cx.peers.get_mut(&peer) else { return };
        if known.told || !topics.is_empty() {
            known.told = !topics.is_empty();
            self.cx.send(peer, Frame::Topics { topics });
        }
    }

    /// Adds subscribers that a search found ([`Output::FindSubscribers`]). The caller has checked their records.
    pub fn subscribers(&mut self, now: Now, topic: &Name, found: Vec<Arc<AddressRecord>>) {
        if let Some(topic) = self.topics.get_mut(&TopicId::of(topic)) {
            topic.found(&mut self.cx, now, found);
        }
    }

    /// Takes the next output; `None` when there is none.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        self.cx.poll(now)
    }

    /// The next deadline at which [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    /// Does all work that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((owner, work)) = self.cx.timers.due(now.at) {
            match owner {
                Some(id) => self.topic_work(now, id, work),
                None => self.node_work(now, work),
            }
        }
    }

    fn topic_work(&mut self, now: Now, id: TopicId, work: Work) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        topic.work(&mut self.cx, now, work);
        if work == Work::Offer && topic.is_over(now) {
            topic.leave(&mut self.cx);
            self.topics.remove(&id);
        }
    }

    fn node_work(&mut self, now: Now, work: Work) {
        match work {
            Work::Tell => {
                let peers: Vec<_> = self.cx.peers.keys().copied().collect();
                peers.into_iter().for_each(|peer| self.tell(peer));
                if self.topics.values().any(Topic::is_subscribed) {
                    let next = now.at + self.cx.jittered(TELL_AGAIN);
                    self.cx.timers.set(None, Work::Tell, next);
                }
            }
            Work::Dials => {
                for peer in self.cx.overdue(now) {
                    self.connect_failed(now, peer);
                }
            }
            _ => {}
        }
    }

    /// Counters of a topic; `None` unless this node is subscribed.
    pub fn info(&self, topic: &Name) -> Option<TopicInfo> {
        self.topics.get(&TopicId::of(topic)).filter(|topic| topic.is_subscribed()).map(Topic::info)
    }

    /// Counters of all topics, and present sizes.
    pub fn stats(&self) -> GossipStats {
        let names = self.topics.values().map(|topic| topic.size().1).sum();
        GossipStats { topics: self.topics.len(), bytes: self.cx.bytes, names, ..self.cx.stats }
    }

    /// The configuration given to [`Self::new`].
    pub fn config(&self) -> &GossipConfig {
        &self.cx.config
    }
}
