//! DHT requests and responses between nodes: over a link, or over a query connection, whose cost is counted.

use polypeer_engine::dht::{Asker, CallFailed, CallId, Output, QueryId, Response};

use polypeer_engine::peers::score::ScoreEvent;

use crate::event::{Answered, Asked, Event};
use crate::index::NodeIndex;
use crate::liars;
use crate::measure::{HANDSHAKE_BYTES, wire_bytes};
use crate::node::Conduct;
use crate::pending::Pending;
use crate::queue::{Micros, SECOND};
use crate::size;
use crate::world::World;

/// Timeout of a request, the handshake included; as in the DHT's driver.
const PATIENCE: Micros = 3 * SECOND;

impl World {
    pub(crate) fn perform_dht(&mut self, index: NodeIndex, output: Output) {
        match output {
            Output::Call { call, to, request } => {
                let query = self.machines(index).and_then(|machines| machines.dht.query_of(call));
                let depth = match self.pending(index, query) {
                    Some(pending) => pending.depths.asked(to.node),
                    None => 0,
                };
                let deadline = self.time() + PATIENCE;
                let target = self.by_id.get(&to.node).copied().filter(|target| {
                    let node = &self.nodes[*target as usize];
                    node.reachable && to.addresses.contains(&node.address)
                });
                match target {
                    Some(target) => {
                        let asked = Asked { from: index, to: target, call, query, depth, deadline, request };
                        self.ask(asked);
                    }
                    // No node at this address: a dial without an answer.
                    None => {
                        self.charge(index, query, 1, HANDSHAKE_BYTES / 2);
                        self.fail(index, None, call, query, CallFailed::Unreachable, deadline);
                    }
                }
            }
            Output::Done { query, outcome } => self.job_done(index, query, outcome),
            Output::Misbehaved { node, .. } => {
                self.tally.lies += 1;
                let now = self.now();
                if let Some(machines) = self.machines(index) {
                    machines.manager.score(now, node, ScoreEvent::Lie);
                }
            }
        }
    }

    /// Sends a request, over a new query connection if there is none.
    pub(crate) fn ask(&mut self, asked: Asked) {
        let (from, to, time) = (asked.from, asked.to, self.time());
        let (here, there) = (self.nodes[from as usize].place, self.nodes[to as usize].place);
        let ip = self.nodes[from as usize].address.ip();
        let remote = self.nodes[to as usize].address.ip();
        let Some(machines) = self.machines(from) else { return };
        let mut setup = 0;
        if machines.link(to).is_none() {
            if let Some(wait) = machines.outgoing.touch(to, time) {
                setup = wait;
            } else {
                let Some(handshake) = self.net.handshake(here, there) else {
                    self.charge(from, asked.query, 1, HANDSHAKE_BYTES / 2);
                    return self.fail(from, Some(to), asked.call, asked.query, CallFailed::Unreachable, asked.deadline);
                };
                let Some(machines) = self.machines(from) else { return };
                let Ok(closed) = machines.outgoing.open(to, remote, time, time + handshake) else {
                    self.tally.full_out += 1;
                    return self.fail(from, None, asked.call, asked.query, CallFailed::NotTried, time);
                };
                setup = handshake;
                if let Some(machines) = closed.and_then(|peer| self.machines(peer)) {
                    machines.incoming.close(from);
                }
                self.charge(from, asked.query, 1, HANDSHAKE_BYTES);
                let accepted = self.machines(to).map(|machines| machines.incoming.accept(from, ip, time));
                if accepted.is_some_and(|accepted| accepted.is_err()) {
                    self.tally.full_in += 1;
                    if let Some(machines) = self.machines(from) {
                        machines.outgoing.close(to);
                    }
                    return self.fail(from, Some(to), asked.call, asked.query, CallFailed::Busy, time + handshake);
                }
            }
        }
        self.charge(from, asked.query, 0, wire_bytes(size::request(&asked.request)));
        if let Some(pending) = self.pending(from, asked.query) {
            pending.cost.messages += 1;
        }
        let measured = self.pending(from, asked.query).is_some();
        self.tally.asked(&asked.request.ask, measured);
        match self.net.send(here, there) {
            Some(delay) => self.queue.push(time + setup + delay, Event::Request(Box::new(asked))),
            None => self.fail(from, Some(to), asked.call, asked.query, CallFailed::Unreachable, asked.deadline),
        }
    }

    /// Handles a request that arrived, and sends the response.
    pub(crate) fn asked(&mut self, asked: Asked) {
        let (time, now) = (self.time(), self.now());
        let Asked { from, to, call, query, depth, deadline, request } = asked;
        let asker = Asker { node: self.nodes[from as usize].id, ip: self.nodes[from as usize].address.ip() };
        let conduct = self.nodes[to as usize].conduct;
        let Some(machines) = self.nodes[to as usize].machines.as_deref_mut() else {
            return self.fail(from, Some(to), call, query, CallFailed::Unreachable, deadline);
        };
        machines.incoming.used(from, time);
        let response = match conduct {
            Conduct::Honest => machines.dht.handle_request(now, &asker, request),
            Conduct::Liar => liars::lie(to, &self.accomplices, &request),
        };
        if let Response::Refused(why) = &response {
            self.tally.refused(*why);
        }
        let (here, there) = (self.nodes[from as usize].place, self.nodes[to as usize].place);
        match self.net.send(there, here).map(|delay| time + delay).filter(|at| *at <= deadline) {
            Some(at) => {
                let answered = Answered { to: from, from: Some(to), call, query, depth, answer: Ok(response) };
                self.queue.push(at, Event::Answer(Box::new(answered)));
            }
            None => self.fail(from, Some(to), call, query, CallFailed::Unreachable, deadline),
        }
        self.pump(to);
    }

    fn fail(
        &mut self,
        to: NodeIndex,
        from: Option<NodeIndex>,
        call: CallId,
        query: Option<QueryId>,
        why: CallFailed,
        at: Micros,
    ) {
        let answered = Answered { to, from, call, query, depth: 0, answer: Err(why) };
        self.queue.push(at, Event::Answer(Box::new(answered)));
    }

    /// Handles a response, or the failure of a request.
    pub(crate) fn answered(&mut self, answered: Answered) {
        let (time, now) = (self.time(), self.now());
        let Answered { to, from, call, query, depth, answer } = answered;
        if let Ok(response) = &answer {
            self.charge(to, query, 0, wire_bytes(size::response(response)));
        }
        if let Some(pending) = self.pending(to, query) {
            match &answer {
                Ok(response) => {
                    pending.cost.messages += 1;
                    pending.answered(depth, response);
                }
                Err(_) => pending.cost.failures += 1,
            }
        }
        let ip = from.map(|from| self.nodes[from as usize].address.ip());
        let Some(machines) = self.machines(to) else { return };
        if let Some(from) = from {
            match answer {
                Err(CallFailed::Unreachable) => machines.outgoing.close(from),
                _ => machines.outgoing.answered(from, time),
            }
        }
        machines.dht.handle_answer(now, call, ip, answer);
        self.pump(to);
        self.notice_join(to);
    }

    /// Adds costs to the run's counters and to the measured lookup, if `query` is one.
    fn charge(&mut self, index: NodeIndex, query: Option<QueryId>, handshakes: u64, bytes: u64) {
        self.tally.handshakes += handshakes;
        self.tally.bytes += bytes;
        if let Some(pending) = self.pending(index, query) {
            pending.cost.handshakes += handshakes;
            pending.cost.bytes += bytes;
        }
    }

    /// The measured lookup of `query`.
    fn pending(&mut self, index: NodeIndex, query: Option<QueryId>) -> Option<&mut Pending> {
        self.machines(index)?.lookups.get_mut(&query?)
    }
}
