//! Sources of peers: the network core's own schedule decides which source is asked when, and the world answers.

use std::sync::Arc;

use polypeer_engine::address::{AddressRecord, Zone};
use polypeer_engine::dht::{Job, Key};
use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use rand::RngExt;

use crate::event::Event;
use crate::index::NodeIndex;
use crate::measure::{HANDSHAKE_BYTES, wire_bytes};
use crate::world::{World, seed};

/// The simulated sources: the world has no local networks, and its DNS gives the answers of a list, too.
pub(crate) const SOURCES: [Source; 4] = [Source::Remembered, Source::Dns, Source::Exchange, Source::Dht];
/// Seeds in one answer of DNS.
const SEEDS_TOLD: usize = 3;
/// Peers asked at a time for records of others.
const PEERS_ASKED: usize = 3;
/// Contacts from one lookup that become candidates for links.
const MAX_CONTACTS: usize = 16;

impl World {
    /// Asks a source for peers.
    pub(crate) fn ask_source(&mut self, index: NodeIndex, source: Source) {
        let now = self.now();
        let found = match source {
            Source::Dns => self.ask_seeds(index),
            Source::Dht => return self.look_around(index),
            Source::Exchange => self.exchange(index),
            // The manager dials remembered peers by itself.
            Source::Remembered => self.machines(index).map_or(0, |machines| machines.remembered() as u64),
            _ => 0,
        };
        if let Some(machines) = self.machines(index) {
            machines.discovery.answered(now, source, Ok(found));
        }
    }

    fn ask_seeds(&mut self, index: NodeIndex) -> u64 {
        let now = self.now();
        for _ in 0..SEEDS_TOLD {
            let seed = self.seeds[self.rng.random_range(0..self.seeds.len())];
            let (id, address) = self.known_as(seed);
            if let Some(machines) = self.machines(index) {
                machines.manager.found(now, id, &[address], Source::Dns);
            }
        }
        SEEDS_TOLD as u64
    }

    fn look_around(&mut self, index: NodeIndex) {
        let now = self.now();
        let somewhere = Key(seed(&mut self.rng));
        let Some(machines) = self.machines(index) else { return };
        match machines.dht.start(now, Job::Look(somewhere)) {
            Ok(query) => machines.looking = Some(query),
            Err(busy) => machines.discovery.answered(now, Source::Dht, Err(busy.to_string())),
        }
    }

    /// Ends the lookup for peers: the contacts found become candidates for links.
    pub(crate) fn looked(&mut self, index: NodeIndex, near: &[Arc<AddressRecord>]) {
        let now = self.now();
        let Some(machines) = self.machines(index) else { return };
        machines.looking = None;
        for contact in near.iter().take(MAX_CONTACTS) {
            machines.manager.found(now, contact.node, &contact.addresses, Source::Dht);
        }
        machines.discovery.answered(now, Source::Dht, Ok(near.len() as u64));
    }

    /// Asks random peers for address records of others.
    fn exchange(&mut self, index: NodeIndex) -> u64 {
        let now = self.now();
        let Some(machines) = self.nodes[index as usize].machines.as_deref() else { return 0 };
        let ids = machines.links.iter().map(|link| self.nodes[link.peer as usize].id).collect();
        let Some(machines) = self.machines(index) else { return 0 };
        let asked: Vec<NodeId> = machines.exchange.choose_peers(now, ids, PEERS_ASKED);
        for id in &asked {
            if let Some(peer) = self.by_id.get(id).copied() {
                self.exchange_with(index, peer, false);
            }
        }
        asked.len() as u64
    }

    /// Asks one node for address records. `anew`: over a new query connection, because it was too full for a link.
    pub(crate) fn exchange_with(&mut self, index: NodeIndex, peer: NodeIndex, anew: bool) {
        let now = self.now();
        let (id, address) = self.known_as(index);
        let (here, there) = (self.nodes[index as usize].place, self.nodes[peer as usize].place);
        let handshake = if anew { self.net.handshake(here, there) } else { Some(0) };
        let path = handshake.zip(self.net.send(here, there)).zip(self.net.send(there, here));
        let Some(((handshake, go), back)) = path else { return };
        if anew {
            self.tally.dials += 1;
            self.tally.bytes += HANDSHAKE_BYTES;
        }
        let question = Exchange::question(MAX_RECORDS);
        self.tally.bytes += wire_bytes(question.len());
        let Some(told) = self.machines(peer) else { return };
        if let Ok(wanted) = told.exchange.admit(now, &id, &question) {
            let reply = told.exchange.reply(now, &id, address.ip(), wanted, &told.dht.neighbours(Zone::Public));
            self.tally.bytes += wire_bytes(reply.len());
            let at = self.time() + handshake + go + back;
            self.queue.push(at, Event::Exchanged { to: index, from: peer, reply });
        }
    }

    /// Handles the reply of a peer exchange: its records become candidates for links.
    pub(crate) fn exchanged(&mut self, to: NodeIndex, from: NodeIndex, reply: &[u8]) {
        let now = self.now();
        let (id, address) = self.known_as(from);
        let Some(machines) = self.machines(to) else { return };
        machines.exchange.full_answered(&id);
        let reply = machines.exchange.take(now, &id, address.ip(), reply);
        for record in &reply.records {
            machines.manager.found(now, record.node, &record.addresses, Source::Exchange);
        }
        self.tally.lies += reply.lies;
        self.pump(to);
    }
}
