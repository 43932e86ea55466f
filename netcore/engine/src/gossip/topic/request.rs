//! Requests for messages that neighbours announced and that did not arrive along the tree, and answers to requests. An
//! announcement is a promise to send the message: peers that break it are left.

use std::sync::Arc;
use std::time::Instant;

use polypeer_ipc_protocol::ids::NodeId;
use rand::RngExt;

use super::Topic;
use super::missing::{Missing, Named};
use super::overlay::BANNED;
use crate::gossip::common::Common;
use crate::gossip::message::MessageId;
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

impl Topic {
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

    /// Schedules the next request.
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

    /// Frees the places that a missing message takes of the peers that announced it first and were asked for it.
    pub(super) fn free_places(cx: &mut Common, missing: &Missing) {
        if let Some(peer) = cx.peers.get_mut(&missing.first) {
            peer.promised = peer.promised.saturating_sub(1);
        }
        if let Some(peer) = missing.asked.and_then(|asked| cx.peers.get_mut(&asked)) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }
}
