//! Messages that this node publishes to a topic it is not subscribed to: given to one subscriber, named to two more,
//! which ask for what does not reach them, and kept a while for those who come.

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

/// Subscribers that are told.
const TOLD: usize = 3;
/// When messages are named to them again, for what was lost.
const AGAIN: Duration = Duration::from_secs(2);
/// How often.
const TIMES: u8 = 3;

/// To whom the messages are given.
#[derive(Debug, Default)]
pub(super) struct Offer {
    told: BTreeSet<NodeId>,
    /// Messages are pushed to this one.
    entry: Option<NodeId>,
    left: u8,
    /// When the topic is dropped.
    until: Option<Instant>,
}

impl Topic {
    /// Whether nothing keeps this topic any more.
    pub(in crate::gossip) fn is_over(&self, now: Now) -> bool {
        !self.is_subscribed() && self.offer.until.is_none_or(|until| until <= now.at)
    }

    /// Gives a message of this node to subscribers. To how many.
    pub(super) fn offer(&mut self, cx: &mut Common, now: Now, message: &Arc<Message>) -> u32 {
        let until = now.at + cx.config.keep;
        self.offer.until = Some(until);
        self.offer.left = TIMES;
        self.choose(cx, now);
        let mut given = 0;
        for &peer in &self.offer.told {
            if !cx.may_send(peer, Kind::Given, now) {
                continue; // it is named again
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

    /// Picks subscribers to give messages to; looks for some if there are too few.
    fn choose(&mut self, cx: &mut Common, now: Now) {
        let candidates = &self.candidates;
        self.offer.told.retain(|peer| cx.peers.contains_key(peer));
        // By chance, so that nobody is chosen by everybody for a node id made for it.
        let mut others: Vec<_> = candidates.difference(&self.offer.told).copied().collect();
        while self.offer.told.len() < TOLD && !others.is_empty() {
            self.offer.told.insert(others.swap_remove(cx.below(others.len())));
        }
        if self.offer.entry.is_none_or(|entry| !self.offer.told.contains(&entry)) && !self.offer.told.is_empty() {
            self.offer.entry = self.offer.told.iter().nth(cx.below(self.offer.told.len())).copied();
        }
        if self.offer.told.len() < TOLD {
            self.offer_found(cx, now);
            self.find(cx, now);
        }
    }

    /// Connects to subscribers that were found, while there are too few to give messages to.
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

    /// A subscriber is connected: it is given what was published, if others are too few.
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

    /// Names everything kept to a subscriber, which asks for what it lacks at once.
    fn name_all(&self, cx: &mut Common, peer: NodeId) {
        let all: Vec<_> = self.store.all_held().map(|(message, hops)| (message.short(), hops)).collect();
        for part in all.chunks(MAX_IDS) {
            cx.send(peer, Frame::Have { topic: self.id, answer: true, messages: part.to_vec() });
        }
    }

    /// Names everything kept again.
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
