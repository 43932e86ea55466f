//! Attackers' actions. They hold real keys: their own signatures are valid, and they cannot sign for others.

use polypeer_engine::dht::limits::K;
use polypeer_engine::dht::{Ask, CallId, Key, Record, Request};
use polypeer_ipc_protocol::ids::{Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_VALUE;
use rand::{Rng, RngExt};

use crate::event::{Asked, Event};
use crate::index::NodeIndex;
use crate::ips::Ips;
use crate::node::Conduct;
use crate::queue::{Micros, SECOND};
use crate::world::{World, seed};

impl World {
    /// Starts `count` liars, evenly over `span`, at addresses like those of honest nodes.
    pub(crate) fn liars(&mut self, count: usize, span: Micros) {
        for number in 0..count {
            let after = span * number as Micros / count as Micros;
            self.queue.push(self.time() + after, Event::Attacker { id: None, address: None });
        }
    }

    /// Starts a flood of liars from neighbouring subnets. With `keys`, their ids are closer to those than any honest
    /// node's.
    pub(crate) fn sybils(&mut self, count: usize, subnets: u8, keys: &[Key], span: Micros) {
        let bits = (self.alive.len().max(2) as f64).log2().ceil() as usize;
        for number in 0..count {
            let id = keys.get(number % keys.len().max(1)).map(|key| self.find_id_near(*key, bits));
            let after = span * number as Micros / count as Micros;
            let address = Some(Ips::attacker(subnets, number as u32));
            self.queue.push(self.time() + after, Event::Attacker { id, address });
        }
    }

    /// Finds an id whose key shares its first `bits` bits with `key`, by trial.
    fn find_id_near(&mut self, key: Key, bits: usize) -> NodeId {
        loop {
            let id = NodeId(seed(&mut self.rng));
            if Key::of_node(id).distance(&key).shared_bits() >= bits {
                return id;
            }
        }
    }

    /// Starts `count` attackers of one subnet; each sends `per_second` records per second to the nodes closest to
    /// `place`.
    pub(crate) fn spammers(&mut self, place: Key, count: usize, per_second: u64, span: Micros) {
        let distance = |node: &NodeIndex| Key::of_node(self.nodes[*node as usize].id).distance(&place);
        let mut near: Vec<NodeIndex> =
            self.alive.iter().copied().filter(|node| self.nodes[*node as usize].reachable).collect();
        near.sort_by_key(distance);
        near.truncate(K);
        self.victims = near;
        for number in 0..count {
            let attacker = self.spawn(true, Conduct::Liar, None, Some(Ips::attacker(1, number as u32)));
            let total = per_second as usize * (span / SECOND) as usize;
            self.plan(crate::event::Task::Spam(attacker), total, span);
        }
    }

    /// Sends one record of the largest size, near a victim's key, directly to the victim, without a lookup.
    pub(crate) fn spam(&mut self, attacker: NodeIndex) {
        if self.victims.is_empty() {
            return;
        }
        let victim = self.victims[self.rng.random_range(0..self.victims.len())];
        let place = Key::of_node(self.nodes[victim as usize].id);
        let mut value = vec![0; MAX_VALUE];
        self.rng.fill_bytes(&mut value);
        let record = self.record_near(place, value);
        let from = self.machines(attacker).and_then(|machines| machines.own.first().cloned());
        let request = Request { ask: Ask::Put { record, left: 24 * 3600 }, from };
        let deadline = self.time() + 5 * SECOND;
        let call = CallId(u64::MAX);
        self.tally.spam += 1;
        self.ask(Asked { from: attacker, to: victim, call, query: None, depth: 0, deadline, request });
    }

    /// Makes a record with this value whose key is close to `place`, by choice of its name.
    pub(crate) fn record_near(&mut self, place: Key, value: Vec<u8>) -> Record {
        const TRIES: usize = 64;
        let hash = Key::value_hash(&value);
        let salt: u32 = self.rng.random();
        let named = |number: usize| -> Name { format!("near/{salt}/{number}").parse().expect("a name") };
        let tries = (1..TRIES.max(self.alive.len() / 10)).map(named);
        let distance = |name: &Name| Key::of_immutable(name, &hash).distance(&place);
        let name = tries.min_by_key(distance).unwrap_or_else(|| named(0));
        Record::Immutable { name, value: value.into() }
    }
}
