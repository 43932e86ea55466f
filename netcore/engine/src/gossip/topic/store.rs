//! The messages of one topic: whole for a while, by id for as long as they could be replayed, and as fingerprints of
//! short spans of time, by which two nodes notice that one of them lacks something.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::gossip::message::{MESSAGE_LIFETIME, Message, MessageId};
use crate::gossip::wire::{BUCKET, Bucket, MAX_BUCKETS};
use crate::now::Now;

/// What is kept of a message.
#[derive(Debug, Clone)]
enum Content {
    /// It waits for a plugin's verdict.
    Waiting(Arc<Message>),
    /// It is served to neighbours.
    Held(Arc<Message>),
    /// Only its id.
    Gone,
}

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Number of links it crossed from its author; 0 for a message of this node.
    pub(super) hops: u8,
    /// Whether a node on its path had to request it.
    pub(super) repair: bool,
    /// The peer that sent it; `None`: this node published it.
    pub(super) from: Option<NodeId>,
}

/// A message that arrived.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) arrival: Arrival,
    time: u64,
    content: Content,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    count: u32,
    fingerprint: u64,
    held: u32,
}

/// All messages of one topic.
#[derive(Debug, Default)]
pub(super) struct Store {
    known: BTreeMap<MessageId, Known>,
    by_time: BTreeSet<(u64, MessageId)>,
    kept: VecDeque<(Instant, MessageId)>,
    spans: BTreeMap<u32, Span>,
    bytes: usize,
    /// Messages of this time or before are not accepted: their ids may be forgotten.
    floor: Option<u64>,
}

/// How far in the future a message's time may be while half of the room for ids is in use, seconds: the difference of
/// honest clocks.
const EARLY: u64 = 5;

/// The number of the bucket of a message's time.
pub(super) fn bucket_of(time: u64) -> u32 {
    u32::try_from(time / BUCKET).unwrap_or(u32::MAX)
}

impl Store {
    pub(super) fn get(&self, id: &MessageId) -> Option<&Known> {
        self.known.get(id)
    }

    /// Finds a message that is served to neighbours, and its hops.
    pub(super) fn held(&self, id: &MessageId) -> Option<(&Arc<Message>, u8)> {
        match self.known.get(id) {
            Some(Known { content: Content::Held(message), arrival, .. }) => Some((message, arrival.hops)),
            _ => None,
        }
    }

    /// Bytes of messages kept whole.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of ids remembered.
    pub(super) fn names(&self) -> usize {
        self.known.len()
    }

    /// Whether a message of this time is accepted, with room for `limit` ids: not if its id could be among the
    /// forgotten ones. Messages of the future are remembered longest and would push out present ones: they get half of
    /// the room. An id ahead of this node's clock is never forgotten, as that would keep out present messages.
    pub(super) fn takes(&self, now: Now, time: u64, limit: usize) -> bool {
        let is_half_full = 2 * self.known.len() >= limit;
        let is_all_ahead =
            self.known.len() >= limit && self.by_time.first().is_some_and(|(first, _)| *first > now.unix);
        self.floor.is_none_or(|floor| time > floor)
            && !(is_half_full && time > now.unix.saturating_add(EARLY))
            && !(is_all_ahead && time > now.unix)
    }

    /// Adds a new message; `waiting`: for a plugin's verdict. Ids beyond `limit` are forgotten, oldest first; messages
    /// as old as those are no longer accepted.
    pub(super) fn insert(&mut self, now: Now, message: &Arc<Message>, arrival: Arrival, waiting: bool, limit: usize) {
        let (id, time) = (message.short(), message.time());
        let content = if waiting { Content::Waiting(Arc::clone(message)) } else { Content::Held(Arc::clone(message)) };
        self.bytes += message.size();
        self.known.insert(id, Known { arrival, time, content });
        self.by_time.insert((time, id));
        self.kept.push_back((now.at, id));
        let span = self.spans.entry(bucket_of(time)).or_default();
        span.count += 1;
        span.fingerprint ^= id.bits();
        span.held += 1;
        while self.known.len() > limit {
            let Some(&(time, id)) = self.by_time.first() else { break };
            self.forget(time, id);
            self.floor = self.floor.max(Some(time));
        }
        while self.kept.len() > limit
            && let Some((_, id)) = self.kept.pop_front()
        {
            self.empty(&id);
        }
    }

    /// Serves an accepted message to neighbours from now on. `None` unless it was waiting.
    pub(super) fn accept(&mut self, id: &MessageId) -> Option<(Arc<Message>, Arrival)> {
        let known = self.known.get_mut(id)?;
        let Content::Waiting(message) = &known.content else { return None };
        let message = Arc::clone(message);
        known.content = Content::Held(Arc::clone(&message));
        Some((message, known.arrival))
    }

    /// Keeps only the id of a message that a plugin rejected or ignored. Returns the message and how it arrived, if it
    /// was waiting.
    pub(super) fn refuse(&mut self, id: &MessageId) -> Option<(Arc<Message>, Arrival)> {
        let known = self.known.get(id)?;
        let Content::Waiting(message) = &known.content else { return None };
        let (message, arrival) = (Arc::clone(message), known.arrival);
        self.empty(id);
        Some((message, arrival))
    }

    /// Drops the message and keeps its id.
    fn empty(&mut self, id: &MessageId) {
        let Some(known) = self.known.get_mut(id) else { return };
        let (Content::Waiting(message) | Content::Held(message)) = &known.content else { return };
        self.bytes -= message.size();
        known.content = Content::Gone;
        if let Some(span) = self.spans.get_mut(&bucket_of(known.time)) {
            span.held -= 1;
        }
    }

    fn forget(&mut self, time: u64, id: MessageId) {
        self.empty(&id);
        self.by_time.remove(&(time, id));
        self.known.remove(&id);
        let number = bucket_of(time);
        if let Some(span) = self.spans.get_mut(&number) {
            span.count -= 1;
            span.fingerprint ^= id.bits();
            if span.count == 0 {
                self.spans.remove(&number);
            }
        }
    }

    /// Drops the oldest messages until all take at most `limit` bytes.
    pub(super) fn trim(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some((_, id)) = self.kept.pop_front() else { return };
            self.empty(&id);
        }
    }

    /// Drops messages older than `keep`, and ids of messages too old to be replayed.
    pub(super) fn expire(&mut self, now: Now, keep: Duration) {
        while let Some(&(arrived, id)) = self.kept.front()
            && arrived + keep <= now.at
        {
            self.kept.pop_front();
            self.empty(&id);
        }
        while let Some(&(time, id)) = self.by_time.first() {
            if time.saturating_add(MESSAGE_LIFETIME) >= now.unix {
                break;
            }
            self.forget(time, id);
        }
    }

    /// When the oldest message kept arrived.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.kept.front().map(|(arrived, _)| *arrived)
    }

    /// The bucket of this number.
    pub(super) fn bucket(&self, number: u32) -> Bucket {
        let span = self.spans.get(&number).copied().unwrap_or_default();
        Bucket { number, count: span.count, fingerprint: span.fingerprint }
    }

    /// The newest [`MAX_BUCKETS`] buckets in which messages are held, newest first.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        let held = self.spans.iter().rev().filter(|(_, span)| span.held > 0);
        held.take(MAX_BUCKETS).map(|(number, _)| self.bucket(*number)).collect()
    }

    /// Number of ids read to list a bucket; 0 when no message of it is held.
    pub(super) fn names_to_list(&self, number: u32) -> usize {
        self.spans.get(&number).filter(|span| span.held > 0).map_or(0, |span| span.count as usize)
    }

    /// Messages of a bucket that are served to neighbours, with their hops.
    pub(super) fn list(&self, number: u32) -> impl Iterator<Item = (MessageId, u8)> + '_ {
        let first = u64::from(number) * BUCKET;
        let range = (first, MessageId([0; 16]))..(first + BUCKET, MessageId([0; 16]));
        self.by_time.range(range).filter_map(|(_, id)| self.held(id).map(|(_, hops)| (*id, hops)))
    }

    /// Messages that are served to neighbours, in the order of arrival.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&Arc<Message>, u8)> {
        self.kept.iter().filter_map(|(_, id)| self.held(id))
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::gateway::Payload;

    use super::*;
    use crate::testing::{self, Signer};

    const ARRIVAL: Arrival = Arrival { hops: 3, repair: false, from: None };

    fn message(author: &Signer, sequence: u64, now: Now) -> Arc<Message> {
        let payload = Payload(vec![7; 100].into());
        Arc::new(Message::sign(author, "news".parse().unwrap(), sequence, payload, now))
    }

    fn add(store: &mut Store, message: &Arc<Message>, now: Now, limit: usize) {
        store.insert(now, message, ARRIVAL, false, limit);
    }

    #[test]
    fn two_stores_with_the_same_messages_have_the_same_buckets_whatever_the_order() {
        let (author, now) = (Signer::generate(), testing::now());
        let messages: Vec<_> = (0..20).map(|n| message(&author, n, now)).collect();
        let (mut one, mut other) = (Store::default(), Store::default());
        messages.iter().for_each(|message| add(&mut one, message, now, 100));
        messages.iter().rev().for_each(|message| add(&mut other, message, now, 100));
        assert_eq!(one.buckets(), other.buckets());
        assert_eq!(one.list(bucket_of(now.unix)).count(), 20);
        add(&mut one, &message(&author, 99, now), now, 100);
        assert_ne!(one.buckets(), other.buckets());
    }

    #[test]
    fn names_outlive_messages_and_both_end() {
        let (author, now) = (Signer::generate(), testing::now());
        let mut store = Store::default();
        let message = message(&author, 1, now);
        add(&mut store, &message, now, 100);
        let keep = Duration::from_secs(60);
        store.expire(now.after(keep), keep);
        assert!(store.get(&message.short()).is_some() && store.held(&message.short()).is_none());
        assert_eq!((store.bytes(), store.buckets().len()), (0, 0));
        store.expire(now.after(Duration::from_secs(MESSAGE_LIFETIME + 1)), keep);
        assert!(store.get(&message.short()).is_none());
        assert_eq!((store.names(), store.spans.len(), store.kept.len()), (0, 0, 0));
    }

    #[test]
    fn forgotten_names_cannot_come_again() {
        let (author, now) = (Signer::generate(), testing::now());
        let mut store = Store::default();
        let old = message(&author, 1, now);
        add(&mut store, &old, now, 2);
        let later = now.after(Duration::from_secs(5));
        for sequence in 2..4 {
            add(&mut store, &message(&author, sequence, later), later, 2);
        }
        assert!(store.get(&old.short()).is_none() && !store.takes(later, old.time(), 2));
        assert!(store.takes(later, later.unix, 2));
        assert_eq!(store.names(), 2);
    }

    #[test]
    fn what_is_dated_ahead_never_keeps_out_the_present() {
        const LIMIT: usize = 100;
        let (author, now) = (Signer::generate(), testing::now());
        let mut store = Store::default();
        let flood = |store: &mut Store, sequence: u64, ahead: u64| {
            let message = message(&author, sequence, Now { unix: now.unix + ahead, ..now });
            let taken = store.takes(now, message.time(), LIMIT);
            if taken {
                add(store, &message, now, LIMIT);
            }
            taken
        };
        let taken = (0..500).filter(|sequence| flood(&mut store, *sequence, 600)).count();
        assert_eq!(taken, LIMIT / 2, "half of the room");
        assert!(!flood(&mut store, 1000, 601));
        assert!(flood(&mut store, 1001, EARLY) && !flood(&mut store, 1002, EARLY + 1));
        let taken = (2000..2500).filter(|sequence| flood(&mut store, *sequence, 1)).count();
        assert_eq!(taken, LIMIT / 2 - 1, "nothing ahead makes room for what is ahead");
        for sequence in 3000..3300 {
            assert!(flood(&mut store, sequence, 0) || store.floor == Some(now.unix));
        }
        assert!(store.floor.is_none_or(|floor| floor <= now.unix), "{:?}", store.floor);
        let later = now.after(Duration::from_secs(1));
        assert!(store.takes(later, later.unix, LIMIT), "the next second is open");
        assert_eq!(store.names(), LIMIT);
    }

    #[test]
    fn the_oldest_messages_go_first_when_there_is_no_room() {
        let (author, now) = (Signer::generate(), testing::now());
        let mut store = Store::default();
        let messages: Vec<_> = (0..3).map(|n| message(&author, n, now)).collect();
        messages.iter().for_each(|message| add(&mut store, message, now, 100));
        store.trim(2 * messages[0].size());
        assert!(store.held(&messages[0].short()).is_none() && store.held(&messages[1].short()).is_some());
        assert!(store.bytes() <= 2 * messages[0].size());
    }

    #[test]
    fn what_waits_for_a_verdict_is_nobody_elses() {
        let (author, now) = (Signer::generate(), testing::now());
        let mut store = Store::default();
        let (good, bad) = (message(&author, 1, now), message(&author, 2, now));
        store.insert(now, &good, ARRIVAL, true, 100);
        store.insert(now, &bad, ARRIVAL, true, 100);
        assert!(store.held(&good.short()).is_none() && store.list(bucket_of(now.unix)).next().is_none());
        assert!(store.accept(&good.short()).is_some() && store.accept(&good.short()).is_none());
        assert_eq!(store.refuse(&bad.short()), Some((Arc::clone(&bad), ARRIVAL)));
        assert!(store.held(&good.short()).is_some() && store.accept(&bad.short()).is_none());
    }
}
