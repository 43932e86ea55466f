//! Frames by which two subscribers become neighbours and part.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use super::overlay::{CHOSEN, REFUSED};
use crate::address::AddressRecord;
use crate::gossip::common::Common;
use crate::gossip::output::Misbehaviour;
use crate::gossip::peer::Kind;
use crate::gossip::wire::Frame;
use crate::now::Now;

impl Topic {
    pub(super) fn handle_join(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        urgent: bool,
        record: Option<Arc<AddressRecord>>,
    ) -> Result<(), Misbehaviour> {
        if !cx.may(from, Kind::Request, 1, now) {
            return Ok(());
        }
        if let Some(record) = record {
            let known = cx.peers.get(&from).and_then(|peer| peer.record.clone());
            if record.node == from
                && cx.believe(now, from, &record, known.as_ref())?
                && let Some(peer) = cx.peers.get_mut(&from)
            {
                peer.record = Some(record);
            }
        }
        if !self.is_subscribed() {
            cx.send(from, Frame::Leave { topic: self.id });
            return Ok(());
        }
        let banned = self.refused.get(&from).is_some_and(|until| *until > now.at + REFUSED);
        let accepted = !banned && (self.neighbours.contains_key(&from) || self.has_room(cx, now, urgent));
        let records = if banned { Vec::new() } else { self.some_records(cx, now, from) };
        cx.send(from, Frame::Joined { topic: self.id, accepted, records });
        if accepted {
            self.link(cx, now, from, urgent);
        }
        Ok(())
    }

    /// Whether there is room for one more neighbour. For an `urgent` one a neighbour that is neither chosen nor pushed
    /// to is dropped if need be.
    fn has_room(&mut self, cx: &mut Common, now: Now, urgent: bool) -> bool {
        let most = cx.config.most_neighbours;
        let chosen = self.neighbours.values().filter(|neighbour| neighbour.chosen).count();
        if self.neighbours.len() + CHOSEN.saturating_sub(chosen) < most {
            return true;
        }
        if !urgent {
            return false;
        }
        let others: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, neighbour)| !neighbour.chosen && !neighbour.push)
            .map(|(peer, _)| *peer)
            .collect();
        if others.is_empty() {
            return false;
        }
        let gone = others[cx.random_below(others.len())];
        cx.send(gone, Frame::Leave { topic: self.id });
        self.unlink(cx, now, gone, REFUSED);
        true
    }

    pub(super) fn handle_joined(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        accepted: bool,
        records: Vec<Arc<AddressRecord>>,
    ) -> Result<(), Misbehaviour> {
        if !self.joining.contains_key(&from) {
            if accepted && !self.neighbours.contains_key(&from) {
                self.adopt(cx, now, from);
            }
            return Ok(());
        }
        self.learn(cx, now, from, records)?;
        if accepted {
            self.link(cx, now, from, false);
        } else {
            self.joining.remove(&from);
            self.refuse(from, now.at + REFUSED);
        }
        self.maintain(cx, now);
        Ok(())
    }

    /// Accepts a peer that takes this node for a neighbour, if there is room; sends it a `Leave` otherwise. Returns
    /// whether it is a neighbour now.
    pub(super) fn adopt(&mut self, cx: &mut Common, now: Now, peer: NodeId) -> bool {
        if self.neighbours.contains_key(&peer) {
            return true;
        }
        let welcome = self.is_subscribed() && !self.refused.contains_key(&peer) && self.has_room(cx, now, false);
        if welcome {
            self.link(cx, now, peer, false);
        } else if cx.may(peer, Kind::Request, 1, now) {
            cx.send(peer, Frame::Leave { topic: self.id });
        }
        welcome
    }

    pub(super) fn handle_leave(&mut self, cx: &mut Common, now: Now, from: NodeId) {
        if self.neighbours.contains_key(&from) || self.joining.contains_key(&from) {
            self.unlink(cx, now, from, REFUSED);
        }
    }
}
