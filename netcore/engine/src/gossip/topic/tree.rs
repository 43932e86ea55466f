//! Propagation of messages along a tree: a node pushes each message along the tree's edges and announces it to the
//! other neighbours, which request it if it does not arrive. A node that gets a duplicate removes the second edge
//! (Plumtree, Leitão, Pereira and Rodrigues 2007).

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::NodeId;
use rand::RngExt;

use super::Topic;
use super::missing::{Missing, Named};
use super::overlay::BANNED;
use super::store::{Arrival, bucket_of};
use crate::gossip::common::Common;
use crate::gossip::message::{BadMessage, Message, MessageId};
use crate::gossip::output::{Misbehaviour, Output};
use crate::gossip::peer::{Kind, MAX_ASKED, MAX_PROMISED};
use crate::gossip::timers::Work;
use crate::gossip::wire::{Frame, MAX_IDS};
use crate::now::Now;

/// Messages in a row that had to be requested before the tree surely gets another edge; a single one may be lost by the
/// network.
const MISSES: u32 = 2;
/// Of requests below [`MISSES`], a random one in this many adds an edge, too.
const SINGLE: usize = 16;
/// Least time between two changes that shorten paths.
const SHORTEN: Duration = Duration::from_secs(60);
/// Announcements gathered for one neighbour before they are sent at once: as many as fit a frame.
const NAMES: usize = MAX_IDS;

impl Topic {
    /// Stores and sends a message of this node. Returns the number of peers it is sent to at once.
    pub(in crate::gossip) fn publish(&mut self, cx: &mut Common, now: Now, message: &Arc<Message>) -> u32 {
        let arrival = Arrival { hops: 0, repair: false, from: None };
        self.enter(cx, now, message, arrival, false);
        if !self.is_subscribed() {
            return self.offer(cx, now, message);
        }
        self.forward(cx, now, message, arrival)
    }

    /// Stores a message and schedules the comparison of its bucket.
    fn enter(&mut self, cx: &mut Common, now: Now, message: &Arc<Message>, arrival: Arrival, waiting: bool) {
        let (names, bytes) = (cx.config.topic_names, cx.config.topic_bytes);
        self.change_store(cx, |store| {
            store.insert(now, message, arrival, waiting, names);
            store.trim(bytes);
        });
        self.arm_expiry(cx, now);
        self.changed(cx, now, bucket_of(message.time()));
    }

    /// Pushes a message along the tree and announces it to the other neighbours. Returns to how many in all: a
    /// neighbour beyond its rate limit is left out, and finds the message later by comparison.
    pub(super) fn forward(&mut self, cx: &mut Common, now: Now, message: &Arc<Message>, arrival: Arrival) -> u32 {
        let Arrival { hops, repair, from } = arrival;
        let id = message.short();
        let (mut full, mut given) = (false, 0);
        for (&peer, neighbour) in &mut self.neighbours {
            if Some(peer) == from || peer == message.author() || !cx.may_send(peer, Kind::Given, now) {
                continue;
            }
            given += 1;
            if neighbour.push {
                cx.send(peer, Frame::Push { hops, repair, message: Arc::clone(message) });
            } else {
                neighbour.haves.push((id, hops));
                full |= neighbour.haves.len() >= NAMES;
            }
        }
        if full {
            self.flush(cx);
        } else {
            let at = now.at + cx.config.have_delay;
            cx.timers.set_earliest(Some(self.id), Work::Flush, at);
        }
        given
    }

    /// Announces new messages to neighbours.
    pub(super) fn flush(&mut self, cx: &mut Common) {
        for (&peer, neighbour) in &mut self.neighbours {
            if !neighbour.haves.is_empty() {
                let messages = std::mem::take(&mut neighbour.haves);
                cx.send(peer, Frame::Have { topic: self.id, answer: false, messages });
            }
        }
    }

    pub(super) fn handle_push(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        hops: u8,
        repair: bool,
        message: Arc<Message>,
    ) -> Result<(), Misbehaviour> {
        let id = message.short();
        if let Some(known) = self.store.get(&id) {
            let live = !repair && !known.arrival.repair;
            self.handle_duplicate(cx, now, from, id, live);
            return Ok(());
        }
        if !self.is_subscribed() {
            if cx.may(from, Kind::Request, 1, now) {
                cx.send(from, Frame::Leave { topic: self.id });
            }
            return Ok(());
        }
        let timely = message.check_time(now);
        if timely == Err(BadMessage::TooLarge) {
            cx.stats.dropped_invalid += 1;
            return Err(BadMessage::TooLarge.into());
        }
        if timely.is_err() || !self.store.takes(now, message.time(), cx.config.topic_names) {
            if let Some(missing) = self.missing.remove(&id) {
                Self::free_places(cx, &missing);
            }
            cx.stats.dropped_time += 1;
            self.info.dropped += 1;
            return Ok(());
        }
        if !cx.may(from, Kind::Message, 1, now) {
            self.info.dropped += 1;
            return Ok(());
        }
        if let Err(bad) = message.check_signature(&*cx.keys) {
            cx.stats.dropped_invalid += 1;
            self.info.dropped += 1;
            return Err(bad.into());
        }
        let asked = self.arrived(cx, from, id);
        let arrival = Arrival { hops: hops.saturating_add(1), repair: repair || asked, from: Some(from) };
        let own = message.author() == cx.me; // published before this node was restarted
        let waiting = self.subscribed == Some(Validation::Plugin) && !own;
        self.enter(cx, now, &message, arrival, waiting);
        if !own {
            self.info.delivered += 1;
            cx.stats.delivered += 1;
            cx.output(Output::Deliver { topic: self.name.clone(), message: Arc::clone(&message) });
        }
        if waiting {
            self.wait_for_verdict(cx, now, id);
        } else {
            if !own {
                cx.credit(from, now);
            }
            self.forward(cx, now, &message, arrival);
        }
        Ok(())
    }

    /// Handles the arrival of a new message. Returns whether it had to be requested.
    fn arrived(&mut self, cx: &mut Common, from: NodeId, id: MessageId) -> bool {
        let missing = self.missing.remove(&id);
        let asked = missing.as_ref().and_then(|missing| missing.asked);
        if let Some(missing) = &missing {
            Self::free_places(cx, missing);
        }
        if asked.is_some() {
            self.info.pulled += 1;
            cx.stats.pulled += 1;
        } else {
            self.misses = 0;
            if let Some(neighbour) = self.neighbours.get_mut(&from) {
                neighbour.push = true;
            }
        }
        if asked == Some(from)
            && let Some(peer) = cx.peers.get_mut(&from)
        {
            peer.kept_promise();
        }
        asked.is_some()
    }

    /// Frees the places that a missing message takes of the peers that announced it first and were asked for it.
    pub(super) fn free_places(cx: &mut Common, missing: &Missing) {
        if let Some(peer) = cx.peers.get_mut(&missing.first) {
            peer.promised = peer.promised.saturating_sub(1);
        }
        if let Some(peer) = missing.asked.and_then(|asked| cx.peers.get_mut(&asked)) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    /// Counts a duplicate. If neither copy had to be requested (`live`), the tree has one edge too many: it is removed.
    fn handle_duplicate(&mut self, cx: &mut Common, now: Now, from: NodeId, id: MessageId, live: bool) {
        self.info.duplicates += 1;
        cx.stats.duplicates += 1;
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        neighbour.haves.retain(|(have, _)| *have != id);
        if !live {
            return;
        }
        neighbour.push = false;
        if neighbour.may_prune(now.at, cx.config.want_delay) {
            cx.stats.prunes += 1;
            cx.send(from, Frame::Prune { topic: self.id });
        }
    }

    pub(super) fn handle_prune(&mut self, _cx: &mut Common, from: NodeId) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.push = false;
        }
    }

    pub(super) fn handle_have(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        answer: bool,
        messages: &[(MessageId, u8)],
    ) {
        if !self.is_subscribed() || self.refused.get(&from).is_some_and(|until| *until > now.at) {
            return;
        }
        for &(id, hops) in messages {
            if let Some(known) = self.store.get(&id) {
                let arrival = known.arrival;
                if let Some(neighbour) = self.neighbours.get_mut(&from) {
                    neighbour.haves.retain(|(have, _)| *have != id);
                }
                self.shorten(cx, now, from, hops, arrival);
                continue;
            }
            let Some(peer) = cx.peers.get_mut(&from) else { return };
            // While there is little room, no peer takes much of it: others' announcements may be real.
            if peer.promised >= MAX_PROMISED || (peer.promised >= MAX_ASKED && self.missing.is_half_full()) {
                cx.stats.dropped_names += 1;
                continue;
            }
            // The delay is random: of all nodes that a lost copy was to reach, the first to request it passes it on to
            // the others before they do.
            let due =
                if answer { now.at } else { now.at + cx.config.want_delay.mul_f64(cx.rng.random_range(0.5..2.5)) };
            match self.missing.name(id, from, !answer, due) {
                Named::First => peer.promised += 1,
                Named::Again => {}
                Named::Full => cx.stats.dropped_names += 1,
            }
        }
        if answer {
            self.ask(cx, now);
        } else {
            self.arm_missing(cx);
        }
    }

    /// Moves the tree's edge to a neighbour with a much shorter path than the present one.
    fn shorten(&mut self, cx: &mut Common, now: Now, from: NodeId, hops: u8, arrival: Arrival) {
        let Some(parent) = arrival.from.filter(|parent| *parent != from) else { return };
        if arrival.repair
            || hops.saturating_add(1).saturating_add(cx.config.shortcut) > arrival.hops
            || self.shortened.is_some_and(|at| at + SHORTEN > now.at)
            || !self.neighbours.contains_key(&parent)
        {
            return;
        }
        let Some(neighbour) = self.neighbours.get_mut(&from).filter(|neighbour| !neighbour.push) else { return };
        neighbour.push = true;
        self.shortened = Some(now.at);
        cx.stats.grafts += 1;
        cx.send(from, Frame::Want { topic: self.id, graft: true, messages: Vec::new() });
        if let Some(neighbour) = self.neighbours.get_mut(&parent) {
            neighbour.push = false;
            cx.stats.prunes += 1;
            cx.send(parent, Frame::Prune { topic: self.id });
        }
    }

    fn arm_missing(&self, cx: &mut Common) {
        if let Some(next) = self.missing.next() {
            cx.timers.set_earliest(Some(self.id), Work::Missing, next);
        }
    }

    /// Requests messages that were announced and not pushed in time.
    pub(super) fn ask(&mut self, cx: &mut Common, now: Now) {
        let mut wants: Vec<(NodeId, bool, Vec<MessageId>)> = Vec::new();
        while let Some(id) = self.missing.first_due(now.at) {
            self.ask_for(cx, now, id, &mut wants);
        }
        for (peer, graft, messages) in wants {
            if graft {
                cx.stats.grafts += 1;
                if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                    neighbour.push = true;
                }
            }
            for part in messages.chunks(MAX_IDS) {
                cx.send(peer, Frame::Want { topic: self.id, graft, messages: part.to_vec() });
            }
        }
        self.arm_missing(cx);
    }

    /// Picks the peer to request a due message from, and adds it to `wants`.
    fn ask_for(&mut self, cx: &mut Common, now: Now, id: MessageId, wants: &mut Vec<(NodeId, bool, Vec<MessageId>)>) {
        let Some(missing) = self.missing.get_mut(&id) else { return };
        if let Some(asked) = missing.asked.take() {
            let since = missing.asked_at;
            self.broken(cx, now, asked, since);
        }
        let Some(missing) = self.missing.get_mut(&id) else { return };
        missing.holders.retain(|holder| cx.peers.contains_key(holder));
        // First choice: a peer that is asked for others anyway, so that it gets one frame for all. Second: one that
        // pushes, as its copy was probably lost.
        let neighbours = &self.neighbours;
        let pushes = |peer: &NodeId| neighbours.get(peer).is_some_and(|neighbour| neighbour.push);
        let preferred = missing.holders.iter().position(|holder| wants.iter().any(|(peer, ..)| peer == holder));
        let preferred = preferred.or_else(|| missing.holders.iter().position(pushes)).unwrap_or(0);
        let Some(&holder) = missing.holders.get(preferred) else {
            if let Some(missing) = self.missing.remove(&id) {
                cx.stats.given_up += 1;
                Self::free_places(cx, &missing);
            }
            return;
        };
        let Some(peer) = cx.peers.get_mut(&holder) else { return };
        if peer.asked >= MAX_ASKED || !peer.may(Kind::Asked, 1, now.at) {
            self.missing.postpone(id, now.at + cx.config.want_delay);
            return;
        }
        peer.asked += 1;
        missing.holders.remove(preferred);
        missing.asked = Some(holder);
        missing.asked_at = now.at;
        missing.tries = missing.tries.saturating_add(1);
        let (live, patience) = (missing.live && missing.tries == 1, u32::from(missing.tries));
        self.missing.postpone(id, now.at + cx.config.want_delay * patience);
        let named = self.neighbours.get(&holder).is_some_and(|neighbour| !neighbour.push);
        let graft = live && named && {
            self.misses += 1;
            self.misses >= MISSES || cx.random_below(SINGLE) == 0
        };
        if let Some(want) = wants.iter_mut().find(|(peer, ..)| *peer == holder) {
            want.1 |= graft;
            want.2.push(id);
        } else {
            wants.push((holder, graft, vec![id]));
        }
    }

    /// Handles a broken promise: a peer did not send an announced message that was requested at `since`.
    fn broken(&mut self, cx: &mut Common, now: Now, peer: NodeId, since: Instant) {
        cx.stats.promises_broken += 1;
        let Some(known) = cx.peers.get_mut(&peer) else { return };
        known.asked = known.asked.saturating_sub(1);
        if known.broke_promise(since) {
            cx.output(Output::Blame { peer, why: Misbehaviour::EmptyPromises });
            cx.send(peer, Frame::Leave { topic: self.id });
            self.unlink(cx, now, peer, BANNED);
        }
    }

    pub(super) fn handle_want(&mut self, cx: &mut Common, now: Now, from: NodeId, graft: bool, messages: &[MessageId]) {
        if graft && let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.push = true;
        }
        for id in messages {
            let Some((message, hops)) = self.store.held(id) else { continue };
            let message = Arc::clone(message);
            if !cx.may(from, Kind::Served, message.size(), now) || !cx.may_send(from, Kind::Answered, now) {
                break;
            }
            if let Some(neighbour) = self.neighbours.get_mut(&from) {
                neighbour.haves.retain(|(have, _)| have != id);
            }
            cx.send(from, Frame::Push { hops, repair: true, message });
        }
    }
}
