//! Choice of a topic's neighbours: a few random subscribers, on both sides, replaced when they go. More subscribers are
//! remembered as replacements. This is HyParView (Leitão, Pereira and Rodrigues 2007) without its random walks: a node
//! that refuses a newcomer tells it of others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::Topic;
use super::neighbour::Neighbour;
use crate::address::AddressRecord;
use crate::gossip::common::Common;
use crate::gossip::output::Output;
use crate::gossip::timers::Work;
use crate::gossip::wire::Frame;
use crate::now::Now;

/// Timeout of the answer to a `Join`.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for which a peer that refused, left or did not answer is not asked again.
pub(super) const REFUSED: Duration = Duration::from_secs(60);
/// Time for which a peer that broke its promises is no neighbour.
pub(super) const BANNED: Duration = Duration::from_secs(600);
/// Peers remembered as not to be asked.
const MAX_REFUSED: usize = 256;
/// Neighbours that this node chooses itself, however many chose it: an attacker who wants to surround it cannot hold
/// all places.
pub(super) const CHOSEN: usize = 2;

/// A pending `Join`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joining {
    /// Deadline of the answer.
    until: Instant,
    /// Whether the two are to push messages to each other: this node has no edge into the tree.
    urgent: bool,
}

/// State of the search for subscribers.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Whether the driver searches now.
    running: bool,
    /// Earliest time of the next search.
    pub(super) next: Option<Instant>,
    /// Wait between the next two searches.
    pause: Option<Duration>,
}

impl Topic {
    /// Number of neighbours still to be found.
    pub(super) fn lack(&self, cx: &Common) -> usize {
        let chosen = self.neighbours.values().filter(|neighbour| neighbour.chosen).count();
        let lack = cx.config.neighbours.saturating_sub(self.neighbours.len());
        lack.max(CHOSEN.saturating_sub(chosen))
    }

    /// Asks more peers to be neighbours while there are too few.
    pub(super) fn maintain(&mut self, cx: &mut Common, now: Now) {
        let late = self.joining.iter().filter(|(_, joining)| joining.until <= now.at);
        let silent: Vec<_> = late.map(|(peer, _)| *peer).collect();
        for peer in silent {
            self.joining.remove(&peer);
            self.refuse(peer, now.at + REFUSED);
        }
        self.refused.retain(|_, until| *until > now.at);
        if !self.is_subscribed() {
            return;
        }
        let mut lack = self.lack(cx).saturating_sub(self.joining.len() + cx.dials_for(&self.id));
        while lack > 0 && self.seek(cx, now) {
            lack -= 1;
        }
        if lack > 0 {
            self.find(cx, now);
        }
        if self.lack(cx) > 0 {
            let soon = now.at + Duration::from_secs(1);
            let joining = self.joining.values().map(|joining| &joining.until);
            let times = joining.chain(self.refused.values()).chain(self.search.next.iter());
            let next = times.min().copied().unwrap_or(now.at + cx.config.refresh);
            cx.timers.set(Some(self.id), Work::Maintain, next.max(soon));
        } else {
            self.search.pause = None;
        }
    }

    /// Asks one more peer, preferably one that is connected. Returns `false` when there is none to ask or dial.
    fn seek(&mut self, cx: &mut Common, now: Now) -> bool {
        let asked = |peer: &NodeId| {
            self.neighbours.contains_key(peer) || self.joining.contains_key(peer) || self.refused.contains_key(peer)
        };
        let connected: Vec<_> = self.candidates.iter().filter(|peer| !asked(peer)).copied().collect();
        if !connected.is_empty() {
            let peer = connected[cx.random_below(connected.len())];
            self.join(cx, now, peer);
            return true;
        }
        let usable = |record: &&Arc<AddressRecord>| !asked(&record.node) && !cx.dials(&record.node);
        let others: Vec<_> = self.known.iter().filter(usable).cloned().collect();
        if others.is_empty() {
            return false;
        }
        let record = &others[cx.random_below(others.len())];
        self.join_or_dial(cx, now, record)
    }

    pub(super) fn join_or_dial(&mut self, cx: &mut Common, now: Now, record: &Arc<AddressRecord>) -> bool {
        if cx.peers.contains_key(&record.node) {
            self.join(cx, now, record.node);
            return true;
        }
        cx.dial(now, self.id, record)
    }

    fn join(&mut self, cx: &mut Common, now: Now, peer: NodeId) {
        let record = cx.peers.get(&peer).and_then(|known| cx.own_for(known.zone));
        // One edge into the tree is enough; a second would close a cycle.
        let urgent = !self.is_in_tree() && !self.joining.values().any(|joining| joining.urgent);
        cx.send(peer, Frame::Join { topic: self.id, urgent, record });
        let until = now.at + JOIN_TIMEOUT;
        self.joining.insert(peer, Joining { until, urgent });
        cx.timers.set_earliest(Some(self.id), Work::Maintain, until);
    }

    /// Starts a search for subscribers, unless one runs or was done a moment ago.
    pub(super) fn find(&mut self, cx: &mut Common, now: Now) {
        if self.search.running || self.search.next.is_some_and(|next| next > now.at) {
            return;
        }
        let pause = self.search.pause.unwrap_or(cx.config.find).min(cx.config.refresh);
        self.search.running = true;
        self.search.next = Some(now.at + cx.jittered(pause));
        self.search.pause = Some(pause * 2);
        cx.output(Output::FindSubscribers { topic: self.name.clone() });
    }

    /// Ends a search with the subscribers found.
    pub(in crate::gossip) fn found(&mut self, cx: &mut Common, now: Now, found: Vec<Arc<AddressRecord>>) {
        self.search.running = false;
        for record in found.into_iter().take(cx.config.known) {
            if !record.is_expired(now) {
                self.remember(cx, record);
            }
        }
        self.offer_found(cx, now);
        self.maintain(cx, now);
    }

    /// Remembers a subscriber's address record, in place of a random other one when there are too many.
    pub(super) fn remember(&mut self, cx: &mut Common, record: Arc<AddressRecord>) {
        if record.node == cx.me {
            return;
        }
        if let Some(known) = self.known.iter_mut().find(|known| known.node == record.node) {
            if known.sequence <= record.sequence {
                *known = record;
            }
        } else if self.known.len() < cx.config.known {
            self.known.push(record);
        } else {
            let at = cx.random_below(self.known.len());
            self.known[at] = record;
        }
    }

    /// Address records of subscribers that can be dialed.
    pub(super) fn known(&self) -> &[Arc<AddressRecord>] {
        &self.known
    }

    pub(super) fn refuse(&mut self, peer: NodeId, until: Instant) {
        if self.refused.len() < MAX_REFUSED || self.refused.contains_key(&peer) {
            self.refused.insert(peer, until);
        }
    }

    /// Whether any neighbour pushes messages to this node, as far as it knows.
    fn is_in_tree(&self) -> bool {
        self.neighbours.values().any(|neighbour| neighbour.push)
    }

    /// Makes the peer a neighbour; with an edge of the tree between the two if it is `urgent` for either.
    pub(super) fn link(&mut self, cx: &mut Common, now: Now, peer: NodeId, urgent: bool) {
        let joining = self.joining.remove(&peer);
        self.refused.remove(&peer);
        if self.neighbours.contains_key(&peer) || !cx.peers.contains_key(&peer) {
            return;
        }
        let push = urgent || joining.is_some_and(|joining| joining.urgent);
        self.neighbours.insert(peer, Neighbour::new(push, joining.is_some(), now.at));
        self.candidates.insert(peer);
        cx.keep(peer);
        self.compare(cx, peer);
    }

    /// Ends being neighbours. The peer is not asked again for the time `until`.
    pub(super) fn unlink(&mut self, cx: &mut Common, now: Now, peer: NodeId, until: Duration) {
        self.joining.remove(&peer);
        self.refuse(peer, now.at + until);
        if let Some(gone) = self.neighbours.remove(&peer) {
            cx.release(peer);
            if gone.push {
                self.return_to_tree(cx);
            }
            if let Some(record) = cx.peers.get(&peer).and_then(|peer| peer.record.clone()) {
                self.remember(cx, record);
            }
        }
        self.maintain(cx, now);
    }

    /// Asks a random neighbour to push if none does any more.
    fn return_to_tree(&mut self, cx: &mut Common) {
        if self.is_in_tree() || self.neighbours.is_empty() {
            return;
        }
        let at = cx.random_below(self.neighbours.len());
        if let Some((&peer, neighbour)) = self.neighbours.iter_mut().nth(at) {
            neighbour.push = true;
            cx.stats.grafts += 1;
            cx.send(peer, Frame::Want { topic: self.id, graft: true, messages: Vec::new() });
        }
    }

    /// Notes that a connected peer has subscribed or unsubscribed.
    pub(in crate::gossip) fn peer_subscribed(&mut self, cx: &mut Common, now: Now, peer: NodeId, subscribed: bool) {
        if subscribed {
            if self.candidates.insert(peer) {
                self.refused.remove(&peer);
                self.offer_to(cx, now, peer);
                if self.lack(cx) > 0 {
                    self.maintain(cx, now);
                }
            }
        } else if self.candidates.remove(&peer) {
            self.unlink(cx, now, peer, Duration::ZERO);
        }
    }

    /// Handles a successful dial for this topic.
    pub(in crate::gossip) fn dialed(&mut self, cx: &mut Common, now: Now, peer: NodeId) {
        if self.is_subscribed() {
            if !self.neighbours.contains_key(&peer) && !self.joining.contains_key(&peer) {
                self.join(cx, now, peer);
            }
        } else {
            self.offer_to(cx, now, peer);
        }
    }

    /// Handles a failed dial for this topic.
    pub(in crate::gossip) fn not_dialed(&mut self, cx: &mut Common, now: Now, peer: NodeId) {
        self.known.retain(|record| record.node != peer);
        self.refuse(peer, now.at + REFUSED);
        self.maintain(cx, now);
    }

    /// Removes a peer that is no longer connected.
    pub(in crate::gossip) fn peer_down(
        &mut self,
        cx: &mut Common,
        now: Now,
        peer: NodeId,
        record: Option<Arc<AddressRecord>>,
    ) {
        let joining = self.joining.remove(&peer).is_some();
        let neighbour = self.neighbours.remove(&peer);
        self.candidates.remove(&peer);
        if let Some(record) = record.filter(|_| neighbour.is_some()) {
            self.remember(cx, record);
        }
        if neighbour.as_ref().is_some_and(|gone| gone.push) {
            self.return_to_tree(cx);
        }
        if joining || neighbour.is_some() {
            self.refuse(peer, now.at + REFUSED); // so that connected peers are asked first
            self.maintain(cx, now);
        }
    }
}
