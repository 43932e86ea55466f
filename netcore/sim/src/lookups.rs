//! Measured operations: lookups of nodes, records and providers, and their results.

use polypeer_engine::dht::{Job, Key, Outcome, QueryId, Record};
use polypeer_ipc_protocol::ids::{Name, NodeId};
use rand::{Rng, RngExt};

use crate::event::{Event, Task};
use crate::index::NodeIndex;
use crate::measure::{Cost, Depths};
use crate::pending::{Goal, Pending};
use crate::queue::{MS, Micros};
use crate::world::World;

impl World {
    /// Schedules `task` `count` times, spread evenly over the next `span`.
    pub(crate) fn plan(&mut self, task: Task, count: usize, span: Micros) {
        for number in 0..count as Micros {
            let after = (span * number + self.rng.random_range(0..span)) / count as Micros;
            self.queue.push(self.time() + after.min(span), Event::Task(task));
        }
    }

    pub(crate) fn perform(&mut self, task: Task) {
        match task {
            Task::Locate => self.locate(None),
            Task::Victim => {
                let victim = self.victims.get(self.rng.random_range(0..self.victims.len().max(1))).copied();
                self.locate(victim);
            }
            Task::Across => self.locate_across(),
            Task::Put => self.put(None),
            Task::PutNear(place) => self.put(Some(place)),
            Task::Get => self.get(),
            Task::Provide => self.provide(),
            Task::Providers => self.find_providers(),
            Task::Publish => self.publish(),
            Task::Judge(number) => self.judge(number),
            Task::Spam(attacker) => self.spam(attacker),
        }
    }

    fn begin(&mut self, index: NodeIndex, job: Job, goal: Goal) {
        let (time, now) = (self.time(), self.now());
        let Some(machines) = self.machines(index) else { return };
        if let Ok(query) = machines.dht.start(now, job) {
            let (cost, depths) = (Cost::default(), Depths::default());
            machines.lookups.insert(query, Pending { goal, started: time, cost, depths, found_at: None });
        }
        self.pump(index);
    }

    fn locate(&mut self, victim: Option<NodeIndex>) {
        let Some(target) = victim.or_else(|| self.random_node(|node| node.reachable)) else { return };
        let id = self.nodes[target as usize].id;
        let Some(index) = self.random_node(|node| node.id != id) else { return };
        let goal = if victim.is_some() { Goal::Victim(target) } else { Goal::Locate(target) };
        self.begin(index, Job::Locate(id), goal);
    }

    fn locate_across(&mut self) {
        let Some(target) = self.random_node(|node| node.reachable) else { return };
        let (id, side) = (self.nodes[target as usize].id, self.nodes[target as usize].place.side);
        let Some(index) = self.random_node(|node| node.place.side != side) else { return };
        self.begin(index, Job::Locate(id), Goal::Across(target));
    }

    fn put(&mut self, place: Option<Key>) {
        let Some(index) = self.random_node(|_| true) else { return };
        let number = self.published.records.len();
        let mut value = vec![0; self.rng.random_range(50..1000)];
        self.rng.fill_bytes(&mut value);
        let name: Name = format!("sim/{number}").parse().expect("a name");
        let record = match place {
            Some(place) => self.record_near(place, value),
            None => Record::Immutable { name, value: value.into() },
        };
        self.published.records.push((record.clone(), place.is_some()));
        self.begin(index, Job::Put(record), Goal::Put(number));
    }

    fn get(&mut self) {
        let there: Vec<usize> = (0..self.published.records.len()).filter(|at| self.published.records[*at].1).collect();
        if there.is_empty() {
            return;
        }
        let number = there[self.rng.random_range(0..there.len())];
        let key = self.published.records[number].0.key();
        let Some(index) = self.random_node(|_| true) else { return };
        self.begin(index, Job::Get { key }, Goal::Get(number));
    }

    fn provide(&mut self) {
        let Some(index) = self.random_node(|node| node.reachable) else { return };
        let number = self.published.provided.len();
        let name: Name = format!("sim/{number}").parse().expect("a name");
        let key = Key::of_provided(&name);
        self.published.provided.push((key, index, false));
        self.begin(index, Job::Provide(key), Goal::Provide(number));
    }

    fn find_providers(&mut self) {
        let there: Vec<usize> = (0..self.published.provided.len())
            .filter(|at| {
                let (_, by, stored) = self.published.provided[*at];
                stored && self.nodes[by as usize].alive()
            })
            .collect();
        if there.is_empty() {
            return;
        }
        let number = there[self.rng.random_range(0..there.len())];
        let (key, by, _) = self.published.provided[number];
        let by = self.nodes[by as usize].id;
        let Some(index) = self.random_node(|node| node.id != by) else { return };
        self.begin(index, Job::Providers { key, limit: 16 }, Goal::Providers(number));
    }

    /// Handles the end of a DHT job of a node.
    pub(crate) fn job_done(&mut self, index: NodeIndex, query: QueryId, outcome: Outcome) {
        let now = self.now();
        let Some(machines) = self.machines(index) else { return };
        if machines.looking == Some(query) {
            let near = if let Outcome::Looked(near) = outcome { near } else { Vec::new() };
            return self.looked(index, &near);
        }
        if let Some(topic) = machines.finding.remove(&query) {
            let found = if let Outcome::Providers(found) = outcome { found } else { Vec::new() };
            if let Some(gossip) = &mut machines.gossip {
                gossip.subscribers(now, &topic, found);
            }
            return;
        }
        if let Some(pending) = machines.lookups.remove(&query) {
            self.judge_lookup(&pending, &outcome);
        }
    }

    fn judge_lookup(&mut self, pending: &Pending, outcome: &Outcome) {
        let took = self.time() - pending.started;
        let id = |world: &Self, node: NodeIndex| -> NodeId { world.nodes[node as usize].id };
        match pending.goal {
            Goal::Put(number) => {
                let stored = matches!(outcome, Outcome::Stored { copies } if *copies > 0);
                // Records that an attack is aimed at are looked up even if no node stored them.
                self.published.records[number].1 |= stored;
                self.count_stored(stored);
            }
            Goal::Provide(number) => {
                let stored = matches!(outcome, Outcome::Stored { copies } if *copies > 0);
                self.published.provided[number].2 = stored;
                self.count_stored(stored);
            }
            Goal::Get(number) => {
                let found =
                    matches!(outcome, Outcome::Got(Some(record)) if *record == self.published.records[number].0);
                let hops = pending.found_at.unwrap_or_else(|| pending.depths.hops(None));
                self.tally.gets.ended(found, hops, pending.cost, took);
            }
            Goal::Providers(number) => {
                let by = self.published.provided[number].1;
                if !self.nodes[by as usize].alive() {
                    self.tally.providers.void += 1;
                    return;
                }
                let by = id(self, by);
                let found =
                    matches!(outcome, Outcome::Providers(found) if found.iter().any(|record| record.node == by));
                let hops = pending.found_at.unwrap_or_else(|| pending.depths.hops(None));
                self.tally.providers.ended(found, hops, pending.cost, took);
            }
            Goal::Locate(target) | Goal::Victim(target) | Goal::Across(target) => {
                let node = &self.nodes[target as usize];
                let (alive, wanted, address) = (node.alive(), node.id, node.address);
                let lookups = match pending.goal {
                    Goal::Across(_) => &mut self.tally.across,
                    Goal::Victim(_) => &mut self.tally.victims,
                    _ => &mut self.tally.locates,
                };
                if !alive {
                    lookups.void += 1;
                    return;
                }
                let found = matches!(outcome, Outcome::Located(Some(record))
                    if record.node == wanted && record.addresses.contains(&address));
                lookups.ended(found, pending.depths.hops(Some(wanted)), pending.cost, took);
            }
        }
    }

    fn count_stored(&mut self, stored: bool) {
        self.tally.stored += u64::from(stored);
        self.tally.not_stored += u64::from(!stored);
    }

    /// Notes the time at which a node has joined: its first lookup of itself has ended and it has a
    /// link.
    pub(crate) fn notice_join(&mut self, index: NodeIndex) {
        let time = self.time();
        let node = &mut self.nodes[index as usize];
        if node.joined.is_some() {
            return;
        }
        let Some(machines) = &node.machines else { return };
        if machines.dht.has_joined() && !machines.links.is_empty() {
            node.joined = Some(time);
            if node.conduct == crate::node::Conduct::Honest {
                self.tally.joins_ms.push((time - node.born) / MS);
            }
            self.subscribe_some(index);
        }
    }

    /// Excludes all records stored so far from lookups.
    pub(crate) fn forget_records(&mut self) {
        self.published.records.iter_mut().for_each(|(_, wanted)| *wanted = false);
    }
}
