//! Links between nodes. The network core's own manager decides which peers to dial, admit and disconnect; the world
//! simulates dials, handshakes, own records and the end of links.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::Key;
use polypeer_engine::peers::manager::{Action, Ending};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use crate::event::Event;
use crate::index::NodeIndex;
use crate::measure::{HANDSHAKE_BYTES, wire_bytes};
use crate::net::Net;
use crate::node::{Conduct, Link};
use crate::queue::{HOUR, Micros, SECOND};
use crate::size;
use crate::world::World;

/// Timeout of a dial without an answer.
const DIAL_TIMEOUT: Micros = 5 * SECOND;
/// Timeout of a link whose other end is silent.
const IDLE: Micros = 15 * SECOND;
/// Interval at which a node signs its own record again, well before its expiry.
const RECORD_RENEWED: Micros = 12 * HOUR;

impl World {
    pub(crate) fn perform_manager(&mut self, index: NodeIndex, action: Action) {
        match action {
            Action::Dial { node, addresses, source } => self.dial(index, node, &addresses, source),
            Action::Close { node, .. } => {
                if let Some(peer) = self.by_id.get(&node).copied() {
                    self.link_down(index, peer, Ending::Deliberate);
                    self.end_link(index, peer, true);
                }
            }
        }
    }

    /// Dials a node for a link.
    pub(crate) fn dial(&mut self, dialer: NodeIndex, id: NodeId, addresses: &[SocketAddr], source: Source) {
        let time = self.time();
        self.tally.dials += 1;
        self.tally.bytes += HANDSHAKE_BYTES;
        let target = self.by_id.get(&id).copied().filter(|target| {
            let node = &self.nodes[*target as usize];
            node.reachable && addresses.contains(&node.address)
        });
        let here = self.nodes[dialer as usize].place;
        let took = target.and_then(|target| self.net.handshake(here, self.nodes[target as usize].place));
        match target.zip(took) {
            Some((acceptor, took)) => self.queue.push(time + took, Event::LinkUp { dialer, acceptor, source }),
            None => self.queue.push(time + DIAL_TIMEOUT, Event::LinkFailed { dialer, id }),
        }
    }

    /// Completes a handshake: both ends get a link, if both are live and the acceptor admits the dialer.
    pub(crate) fn link_up(&mut self, dialer: NodeIndex, acceptor: NodeIndex, source: Source) {
        let (since, now) = (self.time(), self.now());
        let (id, address) = self.known_as(dialer);
        let (acceptor_id, acceptor_address) = self.known_as(acceptor);
        let Some(machines) = self.machines(acceptor) else { return self.link_failed(dialer, acceptor_id) };
        let already = machines.link(dialer).is_some();
        let admitted = machines.manager.admit(now, id, address.ip());
        if let Ok(admission) = admitted {
            machines.manager.settled(admission);
        }
        if self.machines(dialer).is_none() {
            return;
        }
        if admitted.is_err() {
            self.tally.links_refused += 1;
            if let Some(machines) = self.machines(dialer) {
                machines.manager.was_full(now, &acceptor_id);
            }
            self.link_failed(dialer, acceptor_id);
            let asks = self.machines(dialer).is_some_and(|machines| {
                let is_hungry = machines.discovery.is_hungry();
                machines.exchange.may_ask_full(now, &acceptor_id, is_hungry)
            });
            if asks {
                self.exchange_with(dialer, acceptor, true);
            }
            return;
        }
        if let Some(machines) = self.machines(dialer) {
            machines.manager.dial_ended(now, &acceptor_id, true);
        }
        if already {
            return self.pump(dialer);
        }
        if let Some(machines) = self.machines(acceptor) {
            machines.insert_link(Link { peer: dialer, since, clear: 0 });
            machines.manager.up(now, id, address.ip(), None, Source::Incoming, false);
        }
        if let Some(machines) = self.machines(dialer) {
            machines.insert_link(Link { peer: acceptor, since, clear: 0 });
            let ip = acceptor_address.ip();
            machines.manager.up(now, acceptor_id, ip, Some(acceptor_address), source, true);
        }
        for (from, to) in [(dialer, acceptor), (acceptor, dialer)] {
            self.tell_own(from, to);
            self.gossip_up(from, to);
        }
        self.probe(dialer, acceptor);
        for index in [dialer, acceptor] {
            self.pump(index);
        }
    }

    /// A node's id and address.
    pub(crate) fn known_as(&self, node: NodeIndex) -> (NodeId, SocketAddr) {
        let node = &self.nodes[node as usize];
        (node.id, node.address)
    }

    /// Reports a failed or refused dial to the dialer.
    pub(crate) fn link_failed(&mut self, dialer: NodeIndex, id: NodeId) {
        let now = self.now();
        let Some(machines) = self.machines(dialer) else { return };
        machines.manager.dial_ended(now, &id, false);
        if let Some(gossip) = &mut machines.gossip {
            gossip.connect_failed(now, id);
        }
        self.pump(dialer);
    }

    /// Schedules the moment at which `peer` notices that `gone` left or closed the link.
    pub(crate) fn end_link(&mut self, gone: NodeIndex, peer: NodeIndex, polite: bool) {
        let (here, there) = (self.nodes[gone as usize].place, self.nodes[peer as usize].place);
        let told = self.net.send(here, there).filter(|_| polite);
        // A node that is still live has closed the link on purpose; one that left has not.
        let ending =
            if told.is_some() && self.nodes[gone as usize].alive() { Ending::Deliberate } else { Ending::Lost };
        self.queue.push(self.time() + told.unwrap_or(IDLE), Event::LinkDown { node: peer, peer: gone, ending });
    }

    /// Removes a link at one end.
    pub(crate) fn link_down(&mut self, node: NodeIndex, peer: NodeIndex, ending: Ending) {
        let (now, id) = (self.now(), self.nodes[peer as usize].id);
        let Some(machines) = self.machines(node) else { return };
        if machines.remove_link(peer).is_none() {
            return;
        }
        machines.manager.down(now, &id, ending);
        if let Some(gossip) = &mut machines.gossip {
            gossip.peer_down(now, id);
        }
        self.pump(node);
    }

    /// Cuts the network in two, or heals it. Links between the halves end: both ends notice after a while.
    pub(crate) fn cut(&mut self, cut: bool) {
        self.net.cut = cut;
        if !cut {
            return;
        }
        for index in 0..self.nodes.len() {
            let Some(machines) = self.nodes[index].machines.as_deref() else { continue };
            let here = self.nodes[index].place;
            let crossing = |link: &&Link| self.nodes[link.peer as usize].place.side != here.side;
            let lost: Vec<NodeIndex> = machines.links.iter().filter(crossing).map(|link| link.peer).collect();
            for peer in lost {
                let (node, ending) = (index as NodeIndex, Ending::Lost);
                self.queue.push(self.time() + IDLE, Event::LinkDown { node, peer, ending });
            }
        }
    }

    /// Simulates a probe for a node without an own record: the request, a dial from a new socket, and the answer take
    /// six one-way delays.
    fn probe(&mut self, dialer: NodeIndex, acceptor: NodeIndex) {
        let node = &self.nodes[dialer as usize];
        if !node.reachable || node.machines.as_ref().is_none_or(|machines| !machines.own.is_empty()) {
            return;
        }
        let way = Net::distance(node.place, self.nodes[acceptor as usize].place);
        self.tally.dials += 1;
        self.tally.bytes += HANDSHAKE_BYTES;
        self.queue.push(self.time() + 6 * way, Event::Confirmed(dialer));
    }

    /// Completes a probe: the node signs its own record and sends it to its peers. Repeated to renew the record.
    pub(crate) fn confirmed(&mut self, index: NodeIndex) {
        let (now, time) = (self.now(), self.time());
        let node = &mut self.nodes[index as usize];
        let (keys, address) = (Arc::clone(&node.keys), node.address);
        let Some(machines) = node.machines.as_deref_mut() else { return };
        if machines.own.first().is_some_and(|own| own.sequence + RECORD_RENEWED > time + 1) {
            return;
        }
        let own = Arc::new(AddressRecord::sign(&*keys, vec![address], time + 1, now));
        machines.own = vec![Arc::clone(&own)];
        machines.dht.set_own(now, machines.own.clone());
        if let Some(gossip) = &mut machines.gossip {
            gossip.set_own(now, machines.own.clone());
        }
        let peers: Vec<NodeIndex> = machines.links.iter().map(|link| link.peer).collect();
        if node.conduct == Conduct::Liar {
            self.accomplices.insert(Key::of_node(own.node).0, own);
        }
        for peer in peers {
            self.tell_own(index, peer);
        }
        self.queue.push(time + RECORD_RENEWED, Event::Confirmed(index));
        self.pump(index);
    }

    /// Sends a node's own record to a peer, if it has one.
    fn tell_own(&mut self, from: NodeIndex, to: NodeIndex) {
        let Some(machines) = self.machines(from) else { return };
        let records = machines.own.clone();
        if records.is_empty() {
            return;
        }
        let (here, there) = (self.nodes[from as usize].place, self.nodes[to as usize].place);
        self.tally.bytes += records.iter().map(|record| wire_bytes(size::address(record))).sum::<u64>();
        // On the control stream, which resends whatever [`crate::net::Loss`] says about other messages.
        if !self.net.is_cut(here, there) {
            let delay = Net::distance(here, there);
            self.queue.push(self.time() + delay, Event::Own { to, from, records });
        }
    }

    /// Handles a peer's own records.
    pub(crate) fn own_record(&mut self, to: NodeIndex, from: NodeIndex, records: Vec<Arc<AddressRecord>>) {
        let (now, ip) = (self.now(), self.nodes[from as usize].address.ip());
        let Some(machines) = self.machines(to) else { return };
        if machines.link(from).is_none() {
            return;
        }
        for record in records {
            machines.manager.found(now, record.node, &record.addresses, Source::Peer);
            machines.exchange.learn(now, Arc::clone(&record));
            machines.dht.meet(now, record, ip);
        }
        self.pump(to);
    }
}
