//! Gossip between nodes: frames on links, links that gossip dials and keeps, and subscribers found in the DHT.

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Job, Key};
use polypeer_engine::gossip::{Frame, Output};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::Name;

use crate::event::Event;
use crate::index::NodeIndex;
use crate::measure::wire_bytes;
use crate::world::World;

/// Subscribers sought in one lookup.
const SUBSCRIBERS: usize = 16;

impl World {
    pub(crate) fn perform_gossip(&mut self, index: NodeIndex, output: Output) {
        let now = self.now();
        match output {
            Output::Send { to, frame } => {
                if let Some(to) = self.by_id.get(&to).copied() {
                    self.send_frame(index, to, frame);
                }
            }
            Output::Deliver { message, .. } => {
                let time = self.time();
                if let Some(machines) = self.machines(index) {
                    machines.received.entry(message.id()).or_insert(time);
                    self.tally.talk.first += 1;
                }
            }
            Output::Connect { record } => self.connect(index, &record),
            Output::Keep { peer } => {
                if let Some(machines) = self.machines(index) {
                    machines.manager.keep(peer);
                }
            }
            Output::Release { peer } => {
                if let Some(machines) = self.machines(index) {
                    machines.manager.release(now, &peer);
                }
            }
            Output::FindSubscribers { topic } => self.find_subscribers(index, topic),
            Output::Announce { topic } => self.announce(index, Job::Provide(Key::of_topic(&topic))),
            Output::Withdraw { topic } => self.announce(index, Job::Unprovide(Key::of_topic(&topic))),
            Output::Credit { .. } => {}
            Output::Blame { .. } => self.tally.lies += 1,
        }
    }

    /// Subscribes a node to a topic.
    pub(crate) fn subscribe(&mut self, index: NodeIndex, topic: Name) {
        let now = self.now();
        if let Some(gossip) = self.machines(index).and_then(|machines| machines.gossip.as_mut()) {
            gossip.subscribe(now, topic, Validation::Signature);
        }
        self.pump(index);
    }

    /// Dials a peer for gossip; reports a link that stands already.
    fn connect(&mut self, index: NodeIndex, record: &AddressRecord) {
        let now = self.now();
        let target = self.by_id.get(&record.node).copied();
        let Some(machines) = self.machines(index) else { return };
        if target.is_some_and(|target| machines.link(target).is_some()) {
            if let (Some(gossip), Some(address)) = (&mut machines.gossip, record.addresses.first()) {
                gossip.peer_up(now, record.node, address.ip());
            }
            return;
        }
        machines.manager.found(now, record.node, &record.addresses, Source::Dht);
        machines.manager.dialing(record.node);
        self.dial(index, record.node, &record.addresses, Source::Dht);
    }

    /// Reports a new link to the gossip of `index`.
    pub(crate) fn gossip_up(&mut self, index: NodeIndex, peer: NodeIndex) {
        let now = self.now();
        let (id, address) = self.known_as(peer);
        if let Some(gossip) = self.machines(index).and_then(|machines| machines.gossip.as_mut()) {
            gossip.peer_up(now, id, address.ip());
        }
    }

    fn announce(&mut self, index: NodeIndex, job: Job) {
        let now = self.now();
        if let Some(machines) = self.machines(index) {
            // If there is no room for the job, the engine announces again later.
            let _ = machines.dht.start(now, job);
        }
    }

    fn find_subscribers(&mut self, index: NodeIndex, topic: Name) {
        let now = self.now();
        let job = Job::Providers { key: Key::of_topic(&topic), limit: SUBSCRIBERS };
        let Some(machines) = self.machines(index) else { return };
        match machines.dht.start(now, job) {
            Ok(query) => {
                machines.finding.insert(query, topic);
            }
            Err(_) => {
                if let Some(gossip) = &mut machines.gossip {
                    gossip.subscribers(now, &topic, Vec::new());
                }
            }
        }
    }

    fn send_frame(&mut self, from: NodeIndex, to: NodeIndex, frame: Frame) {
        let (here, there) = (self.nodes[from as usize].place, self.nodes[to as usize].place);
        let (payload, bytes) = (frame.payload() as u64, wire_bytes(frame.size()));
        let (arrival, time) = (self.net.send(here, there), self.time());
        let Some(link) = self.machines(from).and_then(|machines| machines.link(to)) else { return };
        // A stream delivers in order.
        let at = arrival.map(|delay| (time + delay).max(link.clear));
        link.clear = at.unwrap_or(link.clear);
        self.tally.talk.control_bytes += bytes - payload;
        if let Some(at) = at {
            self.queue.push(at, Event::Frame { to, from, frame: Box::new(frame) });
        }
    }

    /// Handles a gossip frame that arrived.
    pub(crate) fn frame(&mut self, to: NodeIndex, from: NodeIndex, frame: Frame) {
        let now = self.now();
        let id = self.nodes[from as usize].id;
        let Some(machines) = self.machines(to) else { return };
        if machines.link(from).is_none() {
            return;
        }
        let Some(gossip) = &mut machines.gossip else { return };
        let payload = frame.payload() > 0;
        let handled = gossip.handle_frame(now, id, frame);
        self.tally.talk.payloads += u64::from(payload);
        self.tally.lies += u64::from(handled.is_err());
        self.pump(to);
    }
}
