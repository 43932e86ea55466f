//! Exchange of known subscribers between neighbours, replacement of neighbours, and keepalives.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use super::overlay::REFUSED;
use crate::address::AddressRecord;
use crate::gossip::common::Common;
use crate::gossip::output::Misbehaviour;
use crate::gossip::peer::Kind;
use crate::gossip::timers::Work;
use crate::gossip::wire::Frame;
use crate::now::Now;

/// Heartbeats without a frame after which a neighbour is dropped.
const SILENT: u32 = 3;

impl Topic {
    /// Address records of subscribers to send to a peer: of neighbours, other known subscribers and this node.
    pub(super) fn some_records(&mut self, cx: &mut Common, now: Now, peer: NodeId) -> Vec<Arc<AddressRecord>> {
        let neighbours = self.neighbours.keys().filter_map(|peer| cx.peers.get(peer)?.record.clone());
        let all = neighbours.chain(self.known.iter().cloned()).collect();
        cx.pick(now, peer, all)
    }

    pub(super) fn learn(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        records: Vec<Arc<AddressRecord>>,
    ) -> Result<(), Misbehaviour> {
        for record in records {
            let about_peer = cx.peers.get(&record.node).and_then(|peer| peer.record.clone());
            let known = about_peer.or_else(|| self.known.iter().find(|known| known.node == record.node).cloned());
            if !cx.believe(now, from, &record, known.as_ref())? {
                continue;
            }
            if record.node == from
                && let Some(peer) = cx.peers.get_mut(&from)
            {
                peer.record = Some(Arc::clone(&record));
            }
            self.remember(cx, record);
        }
        Ok(())
    }

    /// Starts an exchange of known subscribers with a random neighbour.
    pub(super) fn shuffle(&mut self, cx: &mut Common, now: Now) {
        if !self.neighbours.is_empty() {
            let at = cx.random_below(self.neighbours.len());
            if let Some(&peer) = self.neighbours.keys().nth(at) {
                let records = self.some_records(cx, now, peer);
                cx.send(peer, Frame::Shuffle { topic: self.id, answer: false, records });
            }
        }
        let next = now.at + cx.jittered(cx.config.shuffle);
        cx.timers.set(Some(self.id), Work::Shuffle, next);
    }

    pub(super) fn handle_shuffle(
        &mut self,
        cx: &mut Common,
        now: Now,
        from: NodeId,
        answer: bool,
        records: Vec<Arc<AddressRecord>>,
    ) -> Result<(), Misbehaviour> {
        if !self.neighbours.contains_key(&from) || !cx.may(from, Kind::Request, 1, now) {
            return Ok(());
        }
        if !answer {
            let records = self.some_records(cx, now, from);
            cx.send(from, Frame::Shuffle { topic: self.id, answer: true, records });
        }
        self.learn(cx, now, from, records)?;
        if self.is_subscribed() && self.lack(cx) > 0 {
            self.maintain(cx, now);
        }
        Ok(())
    }

    /// Replaces a neighbour now and then, so that partitions of a topic merge, and searches for subscribers that no
    /// neighbour knows.
    pub(super) fn refresh(&mut self, cx: &mut Common, now: Now) {
        self.known.retain(|record| !record.is_expired(now));
        let free = |record: &&Arc<AddressRecord>| {
            !self.neighbours.contains_key(&record.node) && !self.refused.contains_key(&record.node)
        };
        let others: Vec<_> = self.known.iter().filter(free).cloned().collect();
        if !others.is_empty() {
            let record = &others[cx.random_below(others.len())];
            self.join_or_dial(cx, now, record);
        }
        if self.neighbours.len() > cx.config.neighbours + 1 {
            let spare: Vec<_> =
                self.neighbours.iter().filter(|(_, neighbour)| !neighbour.push).map(|(peer, _)| *peer).collect();
            if !spare.is_empty() {
                let gone = spare[cx.random_below(spare.len())];
                cx.send(gone, Frame::Leave { topic: self.id });
                self.unlink(cx, now, gone, REFUSED);
            }
        }
        let due = self.search.next.is_none_or(|next| next + cx.config.refresh <= now.at);
        if due {
            self.find(cx, now);
        }
        let next = now.at + cx.jittered(cx.config.refresh);
        cx.timers.set(Some(self.id), Work::Refresh, next);
    }

    /// Sends a keepalive to each neighbour, and drops those that were silent.
    pub(super) fn heartbeat(&mut self, cx: &mut Common, now: Now) {
        let limit = cx.config.heartbeat * SILENT;
        let silent: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.heard + limit <= now.at)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in silent {
            cx.send(peer, Frame::Leave { topic: self.id });
            self.unlink(cx, now, peer, REFUSED);
        }
        let neighbours: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in neighbours {
            self.compare(cx, peer);
        }
        let next = now.at + cx.jittered(cx.config.heartbeat);
        cx.timers.set(Some(self.id), Work::Heartbeat, next);
    }
}
