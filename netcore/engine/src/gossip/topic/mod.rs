//! State of one topic. [`overlay`], [`join`] and [`exchange`] choose its neighbours; messages travel among them by
//! [`tree`] and [`request`], and [`repair`] recovers those that were lost. [`judge`] has the messages that wait for a
//! verdict, [`offer`] those published without a subscription.

mod exchange;
mod join;
mod judge;
mod missing;
mod neighbour;
mod offer;
mod overlay;
mod repair;
mod request;
mod store;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use polypeer_ipc_protocol::gateway::{TopicInfo, Validation};
use polypeer_ipc_protocol::ids::{Name, NodeId};

use super::common::Common;
use super::message::{Message, MessageId, TopicId};
use super::output::{Misbehaviour, Output};
use super::timers::Work;
use super::wire::Frame;
use crate::address::AddressRecord;
use crate::now::Now;
use missing::AllMissing;
use neighbour::Neighbour;
use offer::Offer;
use overlay::{Joining, Search};
use store::Store;

/// State of one topic that this node subscribes or publishes to.
pub(super) struct Topic {
    id: TopicId,
    name: Name,
    /// Who validates messages; `None`: this node only publishes.
    subscribed: Option<Validation>,
    /// Messages published without a subscription, and the peers they are given to.
    offer: Offer,
    /// Connected peers that are subscribed.
    candidates: BTreeSet<NodeId>,
    neighbours: BTreeMap<NodeId, Neighbour>,
    /// Peers whose answer to a `Join` is pending.
    joining: BTreeMap<NodeId, Joining>,
    /// Peers not to be asked to be neighbours, and until when.
    refused: BTreeMap<NodeId, Instant>,
    /// Address records of subscribers that can be dialed.
    known: Vec<Arc<AddressRecord>>,
    search: Search,
    store: Store,
    missing: AllMissing,
    /// Numbers of buckets to be compared with neighbours, and how many comparisons are left.
    rounds: BTreeMap<u32, u8>,
    /// Messages that wait for a verdict, with their deadlines.
    unjudged: VecDeque<(Instant, MessageId)>,
    /// Messages in a row that had to be requested.
    misses: u32,
    /// When a path of the tree was last shortened.
    shortened: Option<Instant>,
    announced: bool,
    info: TopicInfo,
}

impl Topic {
    pub(super) fn new(id: TopicId, name: Name) -> Self {
        Self {
            id,
            name,
            subscribed: None,
            offer: Offer::default(),
            candidates: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            joining: BTreeMap::new(),
            refused: BTreeMap::new(),
            known: Vec::new(),
            search: Search::default(),
            store: Store::default(),
            missing: AllMissing::default(),
            rounds: BTreeMap::new(),
            unjudged: VecDeque::new(),
            misses: 0,
            shortened: None,
            announced: false,
            info: TopicInfo { neighbours: 0, delivered: 0, duplicates: 0, dropped: 0, pulled: 0 },
        }
    }

    pub(super) fn id(&self) -> TopicId {
        self.id
    }

    /// Adds a connected peer that said it is subscribed before this node took part.
    pub(super) fn candidate(&mut self, peer: NodeId) {
        self.candidates.insert(peer);
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.is_some()
    }

    pub(super) fn info(&self) -> TopicInfo {
        TopicInfo { neighbours: self.neighbours.len() as u32, ..self.info.clone() }
    }

    /// Finds a message that this node serves to others.
    pub(super) fn message(&self, id: &MessageId) -> Option<Arc<Message>> {
        self.store.held(id).map(|(message, _)| Arc::clone(message))
    }

    /// Bytes of messages kept, and number of ids remembered.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.store.bytes(), self.store.names())
    }

    /// Drops the oldest messages until all take at most `limit` bytes.
    pub(super) fn trim(&mut self, cx: &mut Common, limit: usize) {
        self.change_store(cx, |store| store.trim(limit));
    }

    /// Changes the store, and the node's count of its bytes accordingly.
    fn change_store<T>(&mut self, cx: &mut Common, change: impl FnOnce(&mut Store) -> T) -> T {
        let before = self.store.bytes();
        let result = change(&mut self.store);
        cx.bytes = cx.bytes + self.store.bytes() - before;
        result
    }

    /// Subscribes, or changes who validates.
    pub(super) fn subscribe(&mut self, cx: &mut Common, now: Now, validation: Validation) {
        if self.subscribed.replace(validation).is_some() {
            return;
        }
        for (work, after) in [
            (Work::Heartbeat, cx.config.heartbeat),
            (Work::Shuffle, cx.config.shuffle),
            (Work::Refresh, cx.config.refresh),
        ] {
            let after = cx.jittered(after);
            cx.timers.set(Some(self.id), work, now.at + after);
        }
        self.announce(cx);
        self.find(cx, now);
        self.maintain(cx, now);
    }

    /// Lists this node in the DHT as a subscriber if it is one and can be dialed; removes it otherwise.
    pub(super) fn announce(&mut self, cx: &mut Common) {
        let wanted = self.is_subscribed() && !cx.own.is_empty();
        if wanted != std::mem::replace(&mut self.announced, wanted) {
            let topic = self.name.clone();
            cx.output(if wanted { Output::Announce { topic } } else { Output::Withdraw { topic } });
        }
    }

    /// Leaves the topic, which the caller then drops.
    pub(super) fn leave(&mut self, cx: &mut Common) {
        self.subscribed = None;
        self.announce(cx);
        let peers: BTreeSet<_> = self.neighbours.keys().chain(self.joining.keys()).copied().collect();
        for peer in peers {
            cx.send(peer, Frame::Leave { topic: self.id });
            if self.neighbours.remove(&peer).is_some() {
                cx.release(peer);
            }
        }
        for missing in self.missing.drain() {
            Self::free_places(cx, &missing);
        }
        cx.bytes -= self.store.bytes();
        cx.timers.clear(self.id);
    }

    /// Handles a frame of this topic.
    pub(super) fn handle(&mut self, cx: &mut Common, now: Now, from: NodeId, frame: Frame) -> Result<(), Misbehaviour> {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.heard = now.at;
        }
        match frame {
            Frame::Topics { .. } => {}
            Frame::Join { urgent, record, .. } => self.handle_join(cx, now, from, urgent, record)?,
            Frame::Joined { accepted, records, .. } => self.handle_joined(cx, now, from, accepted, records)?,
            Frame::Leave { .. } => self.handle_leave(cx, now, from),
            Frame::Shuffle { answer, records, .. } => self.handle_shuffle(cx, now, from, answer, records)?,
            Frame::Push { hops, repair, message } => self.handle_push(cx, now, from, hops, repair, message)?,
            Frame::Have { answer, messages, .. } => self.handle_have(cx, now, from, answer, &messages),
            Frame::Want { graft, messages, .. } => self.handle_want(cx, now, from, graft, &messages),
            Frame::Prune { .. } => self.handle_prune(cx, from),
            Frame::Digest { buckets, .. } => self.handle_digest(cx, now, from, &buckets),
            Frame::List { buckets, .. } => self.handle_list(cx, now, from, &buckets),
        }
        Ok(())
    }

    /// Does one kind of work that is due.
    pub(super) fn work(&mut self, cx: &mut Common, now: Now, work: Work) {
        match work {
            Work::Flush => self.flush(cx),
            Work::Missing => self.ask(cx, now),
            Work::Judge => self.judge_timeout(cx, now),
            Work::Maintain => self.maintain(cx, now),
            Work::Digest => self.digest(cx, now),
            Work::Heartbeat => self.heartbeat(cx, now),
            Work::Shuffle => self.shuffle(cx, now),
            Work::Refresh => self.refresh(cx, now),
            Work::Expire => self.expire(cx, now),
            Work::Offer => self.offer_again(cx, now),
            Work::Tell | Work::Dials => {}
        }
    }

    fn expire(&mut self, cx: &mut Common, now: Now) {
        let keep = cx.config.keep;
        self.change_store(cx, |store| store.expire(now, keep));
        self.arm_expiry(cx, now);
    }

    /// Arms the next expiry: in steps of at least an eighth of `keep`, so that it costs nothing per message.
    fn arm_expiry(&self, cx: &mut Common, now: Now) {
        if self.store.names() > 0 {
            let next = self.store.oldest().unwrap_or(now.at) + cx.config.keep;
            cx.timers.set_earliest(Some(self.id), Work::Expire, next.max(now.at + cx.config.keep / 8));
        }
    }
}
