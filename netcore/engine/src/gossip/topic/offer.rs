//! Messages that this node publishes to a topic without being subscribed. It pushes them to one subscriber, announces
//! them to two more, and keeps them for a while for subscribers that connect later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use crate::gossip::common::Common;
use crate::gossip::message::Message;
use crate::gossip::peer::Kind;
use crate::gossip::timers::Work;
use crate::gossip::wire::{Frame, MAX_IDS};
use crate::now::Now;

/// Subscribers that the messages are given to.
const TOLD: usize = 3;
/// Interval at which messages are announced again, to recover lost ones.
const AGAIN: Duration = Duration::from_secs(2);
/// Repeated announcements after the last message.
const TIMES: u8 = 3;

/// The subscribers that the messages are given to.
#[derive(Debug, Default)]
pub(super) struct Offer {
    told: BTreeSet<NodeId>,
    /// The one that messages are pushed to; they are announced to the others.
    entry: Option<NodeId>,
    left: u8,
    /// When the topic is dropped.
    until: Option<Instant>,
}

impl Topic {
    /// Whether the topic may be dropped: not subscribed, and its published messages have expired.
    pub(in crate::gossip) fn is_over(&self, now: Now) -> bool {
        !self.is_subscribed() && self.offer.until.is_none_or(|until| until <= now.at)
    }

    /// Gives a message of this node to subscribers. Returns to how many.
    pub(super) fn offer(&mut self, cx: &mut Common, now: Now, message: &Arc<Message>) -> u32 {
        let until = now.at + cx.config.keep;
        self.offer.until = Some(until);
        self.offer.left = TIMES;
        self.choose(cx, now);
        let mut given = 0;
        for &peer in &self.offer.told {
            if !cx.may_send(peer, Kind::Given, now) {
                continue; // it is announced again
            }
            given += 1;
            let frame = if self.offer.entry == Some(peer) {
                Frame::Push { hops: 0, repair: false, message: Arc::clone(message) }
            } else {
                Frame::Have { topic: self.id, answer: false, messages: vec![(message.short(), 0)] }
            };
            cx.send(peer, frame);
        }
        cx.timers.set(Some(self.id), Work::Offer, now.at + AGAIN);
        given
    }

    /// Picks subscribers to give messages to; searches for more if there are too few.
    fn choose(&mut self, cx: &mut Common, now: Now) {
        let candidates = &self.candidates;
        self.offer.told.retain(|peer| cx.peers.contains_key(peer));
        // At random, so that no node can make itself the one that everybody chooses by its node id.
        let mut others: Vec<_> = candidates.difference(&self.offer.told).copied().collect();
        while self.offer.told.len() < TOLD && !others.is_empty() {
            self.offer.told.insert(others.swap_remove(cx.random_below(others.len())));
        }
        if self.offer.entry.is_none_or(|entry| !self.offer.told.contains(&entry)) && !self.offer.told.is_empty() {
            self.offer.entry = self.offer.told.iter().nth(cx.random_below(self.offer.told.len())).copied();
        }
        if self.offer.told.len() < TOLD {
            self.offer_found(cx, now);
            self.find(cx, now);
        }
    }

    /// Gives the messages to known subscribers, dialing them if need be, while there are too few.
    pub(super) fn offer_found(&mut self, cx: &mut Common, now: Now) {
        if self.is_subscribed() || self.offer.until.is_none() {
            return;
        }
        let mut lack = TOLD.saturating_sub(self.offer.told.len() + cx.dials_for(&self.id));
        let known: Vec<_> = self.known().to_vec();
        for record in known {
            if lack == 0 {
                return;
            }
            if self.offer.told.contains(&record.node) || self.refused.contains_key(&record.node) {
                continue;
            }
            if cx.peers.contains_key(&record.node) {
                self.offer_to(cx, now, record.node);
                lack -= 1;
            } else if cx.dial(now, self.id, &record) {
                lack -= 1;
            }
        }
    }

    /// Gives the messages to a connected subscriber, if there are too few.
    pub(super) fn offer_to(&mut self, cx: &mut Common, _now: Now, peer: NodeId) {
        if self.is_subscribed() || self.offer.until.is_none() || self.offer.told.len() >= TOLD {
            return;
        }
        if !self.offer.told.insert(peer) {
            return;
        }
        if self.offer.entry.is_none() {
            self.offer.entry = Some(peer);
        }
        self.name_all(cx, peer);
    }

    /// Announces all messages kept to a subscriber, which requests those it lacks at once.
    fn name_all(&self, cx: &mut Common, peer: NodeId) {
        let all: Vec<_> = self.store.all_held().map(|(message, hops)| (message.short(), hops)).collect();
        for part in all.chunks(MAX_IDS) {
            cx.send(peer, Frame::Have { topic: self.id, answer: true, messages: part.to_vec() });
        }
    }

    /// Announces all messages kept again.
    pub(super) fn offer_again(&mut self, cx: &mut Common, now: Now) {
        if self.is_subscribed() {
            return;
        }
        self.choose(cx, now);
        if self.offer.left > 0 {
            self.offer.left -= 1;
            for &peer in &self.offer.told {
                self.name_all(cx, peer);
            }
        }
        let Some(until) = self.offer.until.filter(|until| *until > now.at) else { return };
        let next = if self.offer.left > 0 { AGAIN } else { cx.config.find * 2 };
        cx.timers.set(Some(self.id), Work::Offer, until.min(now.at + next));
    }
}
