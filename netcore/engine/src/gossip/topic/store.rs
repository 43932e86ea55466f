//! The messages of one topic: whole for a while, by name for as long as they could be replayed, and as fingerprints
//! of short spans of time, by which two nodes see what one of them lacks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::gossip::message::{MESSAGE_LIFETIME, Message, MessageId};
use crate::gossip::wire::{BUCKET, Bucket, MAX_BUCKETS};
use crate::now::Now;

/// What is left of a message.
#[derive(Debug, Clone)]
enum Content {
    /// A plugin has not judged it.
    Waiting(Arc<Message>),
    /// Neighbours can have it.
    Held(Arc<Message>),
    /// Its name.
    Gone,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// Through how many nodes.
    pub(super) hops: u8,
    /// Whether one of them had to ask for it.
    pub(super) repair: bool,
    /// From whom; `None`: it is this node's.
    pub(super) from: Option<NodeId>,
}

/// One message that came.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) way: Way,
    time: u64,
    content: Content,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    count: u32,
    fingerprint: u64,
    held: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Store {
    known: BTreeMap<MessageId, Known>,
    by_time: BTreeSet<(u64, MessageId)>,
    kept: VecDeque<(Instant, MessageId)>,
    spans: BTreeMap<u32, Span>,
    bytes: usize,
    /// Messages of this time or before are not taken: their names may be forgotten.
    floor: Option<u64>,
}

/// How far ahead a message may be dated while half of the room for names is in use, seconds: what honest clocks differ by.
const EARLY: u64 = 5;

/// In which bucket a message of this time is.
pub(super) fn bucket_of(time: u64) -> u32 {
    u32::try_from(time / BUCKET).unwrap_or(u32::MAX)
}

impl Store {
    pub(super) fn get(&self, id: &MessageId) -> Option<&Known> {
        self.known.get(id)
    }

    /// A message that neighbours can have, and how many nodes it came through.
    pub(super) fn held(&self, id: &MessageId) -> Option<(&Arc<Message>, u8)> {
        match self.known.get(id) {
            Some(Known { content: Content::Held(message), way, .. }) => Some((message, way.hops)),
            _ => None,
        }
    }

    /// Bytes of messages that are here whole.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Names remembered.
    pub(super) fn names(&self) -> usize {
        self.known.len()
    }

    /// Whether a message of this time is taken, where so many names are remembered: not if it could have been here and was
    /// forgotten. What is dated ahead is remembered longest and pushes the present out, so that it has half of the room;
    /// and nothing dated ahead of this node's clock is ever forgotten, as that would keep out the present.
    pub(super) fn takes(&self, now: Now, time: u64, limit: usize) -> bool {
        let is_half_full = 2 * self.known.len() >= limit;
        let is_all_ahead =
            self.known.len() >= limit && self.by_time.first().is_some_and(|(first, _)| *first > now.unix);
        self.floor.is_none_or(|floor| time > floor)
            && !(is_half_full && time > now.unix.saturating_add(EARLY))
            && !(is_all_ahead && time > now.unix)
    }

    /// Enters a message that is not known; `waiting`: for a plugin's verdict. Names beyond `limit` are forgotten, oldest
    /// first, and with them the right of messages as old to come.
    pub(super) fn insert(&mut self, now: Now, message: &Arc<Message>, way: Way, waiting: bool, limit: usize) {
        let (id, time) = (message.short(), message.time());
        let content = if waiting { Content::Waiting(Arc::clone(message)) } else { Content::Held(Arc::clone(message)) };
        self.bytes += message.size();
        self.known.insert(id, Known { way, time, content });
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

    /// A plugin accepted it: neighbours can have it. `None` unless it was waiting.
    pub(super) fn accept(&mut self, id: &MessageId) -> Option<(Arc<Message>, Way)> {
        let known = self.known.get_mut(id)?;
        let Content::Waiting(message) = &known.content else { return None };
        let message = Arc::clone(message);
        known.content = Content::Held(Arc::clone(&message));
        Some((message, known.way))
    }

    /// A plugin does not want it passed on: only its name stays. The message and how it came, if it was waiting.
    pub(super) fn refuse(&mut self, id: &MessageId) -> Option<(Arc<Message>, Way)> {
        let known = self.known.get(id)?;
        let Content::Waiting(message) = &known.content else { return None };
        let (message, way) = (Arc::clone(message), known.way);
        self.empty(id);
        Some((message, way))
    }

    /// Lets go of the message, not of its name.
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

    /// Lets go of the oldest messages until all take at most `limit` bytes.
    pub(super) fn trim(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some((_, id)) = self.kept.pop_front() else { return };
            self.empty(&id);
        }
    }

    /// Lets go of what is older than `keep`, and of names that could not come again.
    pub(super) fn expire(&mut self, now: Now, keep: Duration) {
        while let Some(&(came, id)) = self.kept.front()
            && came + keep <= now.at
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

    /// When [`Self::expire`] has something to do, as far as messages go.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.kept.front().map(|(came, _)| *came)
    }

    /// What is known of a span of time.
    pub(super) fn bucket(&self, number: u32) -> Bucket {
        let span = self.spans.get(&number).copied().unwrap_or_default();
        Bucket { number, count: span.count, fingerprint: span.fingerprint }
    }

    /// The newest buckets in which there is something to be had.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        let held = self.spans.iter().rev().filter(|(_, span)| span.held > 0);
        held.take(MAX_BUCKETS).map(|(number, _)| self.bucket(*number)).collect()
    }

    /// How many names are looked at to list a bucket; 0 when there is nothing to list.
    pub(super) fn names_to_list(&self, number: u32) -> usize {
        self.spans.get(&number).filter(|span| span.held > 0).map_or(0, |span| span.count as usize)
    }

    /// Messages of a bucket that neighbours can have, with their hops.
    pub(super) fn list(&self, number: u32) -> impl Iterator<Item = (MessageId, u8)> + '_ {
        let first = u64::from(number) * BUCKET;
        let range = (first, MessageId([0; 16]))..(first + BUCKET, MessageId([0; 16]));
        self.by_time.range(range).filter_map(|(_, id)| self.held(id).map(|(_, hops)| (*id, hops)))
    }

    /// Messages that neighbours can have, oldest first.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&Arc<Message>, u8)> {
        self.kept.iter().filter_map(|(_, id)| self.held(id))
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::gateway::Payload;

    use super::*;
    use crate::testing::{self, Signer};

    const WAY: Way = Way { hops: 3, repair: false, from: None };

    fn message(author: &Signer, sequence: u64, now: Now) -> Arc<Message> {
        let payload = Payload(vec![7; 100].into());
        Arc::new(Message::sign(author, "news".parse().unwrap(), sequence, payload, now))
    }

    fn add(store: &mut Store, message: &Arc<Message>, now: Now, limit: usize) {
        store.insert(now, message, WAY, false, limit);
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
        store.insert(now, &good, WAY, true, 100);
        store.insert(now, &bad, WAY, true, 100);
        assert!(store.held(&good.short()).is_none() && store.list(bucket_of(now.unix)).next().is_none());
        assert!(store.accept(&good.short()).is_some() && store.accept(&good.short()).is_none());
        assert_eq!(store.refuse(&bad.short()), Some((Arc::clone(&bad), WAY)));
        assert!(store.held(&good.short()).is_some() && store.accept(&bad.short()).is_none());
    }
}
