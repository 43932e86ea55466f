//! Propagation of messages along a tree: a node pushes each message along the tree's edges and announces it to the
//! other neighbours, which request it if it does not arrive (`request`). A node that gets a duplicate removes the
//! second edge (Plumtree, Leitão, Pereira and Rodrigues 2007).

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use super::store::{Arrival, bucket_of};
use crate::gossip::common::Common;
use crate::gossip::message::{BadMessage, Message, MessageId};
use crate::gossip::output::{Misbehaviour, Output};
use crate::gossip::peer::Kind;
use crate::gossip::timers::Work;
use crate::gossip::wire::{Frame, MAX_IDS};
use crate::now::Now;

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

    /// Moves the tree's edge to a neighbour with a much shorter path than the present one.
    pub(super) fn shorten(&mut self, cx: &mut Common, now: Now, from: NodeId, hops: u8, arrival: Arrival) {
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
}
