//! The distributed hash table: Kademlia (Maymounkov and Mazières 2002) over authenticated connections, with the
//! disjoint paths of S/Kademlia (Baumgart and Mies 2007). Nodes that a peer has dialed back store records and return
//! contacts; all others are clients, which only ask. `PROTOCOL.md`, section 10, has the bytes and the rules between
//! nodes; `docs/decisions/2026-11-29-dht.md` the reasons.
//!
//! ```text
//!   start ──► query ──► lookup ──► step ─┐                    ┌─► answer ──► table, store, providers
//!                └────► spread ──► put ──┼─► calls ─► Output  │
//!   tick ──► upkeep ──► check, handover ─┘       ▲            handle_request (quota, rate)
//!                                                └── handle_answer
//! ```
//!
//! [`Dht`] is driven by netcore's `dht::driver`, or by the simulator. Each file owns the decisions about one thing:
//! `job_api` starts and ends jobs, `lookup_steps` advances them, `ingest` judges answers, `store_requests` stores
//! records on other nodes, `serve` answers requests, `upkeep` does the periodic work.

mod bootstrap_peers;
mod bucket;
mod calls;
mod candidates;
mod contact;
mod diversity;
mod ingest;
mod interface;
mod job_api;
pub mod key;
pub mod limits;
mod lookup;
mod lookup_steps;
mod operation;
mod own_records;
mod providers;
mod quota;
mod rate;
pub mod record;
mod serve;
mod store;
mod store_requests;
mod table;
mod time;
mod upkeep;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::address::{AddressRecord, Zone};
use crate::keys::SharedKeys;
use crate::now::Now;
use bootstrap_peers::Met;
use calls::{Calls, Purpose};
use contact::{Contact, Records};
use limits::{MAX_QUERIES, MAX_REPORTS, TICK};
use operation::Query;
use own_records::Own;
use providers::Providers;
use rate::{Rates, charged_subnet};
use store::Store;
use table::Table;
use time::Moment;
use upkeep::Upkeep;

pub use interface::{
    Asker, Busy, CallFailed, CallId, Counts, DhtConfig, DhtStats, Failed, Job, Lie, Outcome, Output, QueryId,
};
pub use key::Key;
pub use record::{ProviderRecord, Record, RecordError};
pub use wire::{Ask, Refusal, Request, Response, WireError};

/// The DHT engine of one node.
pub struct Dht {
    keys: SharedKeys,
    node: NodeId,
    key: Key,
    config: DhtConfig,
    random: StdRng,
    /// When it was first told the time; [`Moment`] counts from there.
    began: Option<Instant>,
    /// This node's own address records; empty for a client.
    addresses: Records,
    table: Table,
    met: Met,
    store: Store,
    providers: Providers,
    rates: Rates,
    calls: Calls,
    queries: BTreeMap<QueryId, Query>,
    /// Deadlines of the queries, earliest first; entries of queries that have ended are removed late.
    ends: VecDeque<(Instant, QueryId)>,
    /// Queries that wait because [`limits::MAX_CALLS`] calls are in flight, first come first.
    starved: VecDeque<QueryId>,
    last_query: u64,
    own: Own,
    upkeep: Upkeep,
    /// What [`Self::poll`] returns next. Jobs begin only below [`limits::MAX_OUTPUTS`]; reports of lies are limited to
    /// [`MAX_REPORTS`].
    outputs: VecDeque<Output>,
    /// Reports of lies in `outputs`.
    reports: usize,
    /// Calls that failed since the last one that was answered.
    failed_in_a_row: u32,
    counts: Counts,
}

impl Dht {
    /// An engine without contacts. `seed` is the random seed: all its randomness follows from it.
    pub fn new(keys: SharedKeys, config: DhtConfig, seed: [u8; 32]) -> Self {
        let node = keys.node();
        let key = Key::of_node(node);
        let guarded = config.defences;
        Self {
            keys,
            node,
            key,
            config,
            random: StdRng::from_seed(seed),
            began: None,
            addresses: Records::default(),
            table: Table::new(key, guarded),
            met: Met::default(),
            store: Store::new(key, guarded),
            providers: Providers::new(key, guarded),
            rates: Rates::default(),
            calls: Calls::default(),
            queries: BTreeMap::new(),
            ends: VecDeque::new(),
            starved: VecDeque::new(),
            last_query: 0,
            own: Own::default(),
            upkeep: Upkeep::default(),
            outputs: VecDeque::new(),
            reports: 0,
            failed_in_a_row: 0,
            counts: Counts::default(),
        }
    }

    /// Sets this node's own address records: one for each zone in which a peer has dialed it back. Without any it is a
    /// client: it asks, and answers nobody.
    pub fn set_own(&mut self, now: Now, records: Vec<Arc<AddressRecord>>) {
        self.wake(now);
        let served = self.serves();
        let moved = records.iter().any(|record| !self.addresses.cover(record));
        self.addresses = Records::default();
        for record in records {
            self.addresses.set(record);
        }
        if moved {
            // Its neighbours do not know it yet, or know an older address.
            self.upkeep.join_again();
        }
        if !served && self.serves() {
            self.own.provide_at_once();
        }
        self.keep_up(now);
    }

    /// Adds a node that may serve: it becomes a contact once it has answered.
    pub fn add(&mut self, now: Now, record: Arc<AddressRecord>) {
        self.wake(now);
        self.consider(now, Contact::new(record), None);
        self.keep_up(now);
    }

    /// As [`Self::add`], for a peer that sent its own record from `ip`: this node's own lookups start at such peers,
    /// too.
    pub fn meet(&mut self, now: Now, record: Arc<AddressRecord>, ip: IpAddr) {
        if record.node != self.node {
            self.met.add(Contact::new(Arc::clone(&record)), charged_subnet(ip));
        }
        self.add(now, record);
    }

    /// Answers a question of another node.
    pub fn handle_request(&mut self, now: Now, asker: &Asker, request: Request) -> Response {
        self.wake(now);
        let response = self.serve(now, asker, request);
        self.keep_up(now);
        response
    }

    /// Begins a job; it ends with one [`Output::Done`]. Fails while too many jobs are in progress or too much output
    /// waits for [`Self::poll`].
    pub fn start(&mut self, now: Now, job: Job) -> Result<QueryId, Busy> {
        self.wake(now);
        // These two end at once, so they need no place among the queries. A refusal would lose them: they must take
        // effect.
        let needs_place = !matches!(job, Job::Unprovide(_) | Job::Forget(_));
        if needs_place && self.queries.len() >= MAX_QUERIES + limits::MAX_UPKEEP
            || self.outputs.len() >= limits::MAX_OUTPUTS
        {
            return Err(Busy);
        }
        let id = self.next_query();
        self.begin_job(now, id, job)?;
        Ok(id)
    }

    /// Cancels a job: no [`Output::Done`] follows. A record or listing that it was to store is still republished.
    pub fn cancel(&mut self, query: QueryId) {
        self.queries.remove(&query);
        self.starved.retain(|starved| *starved != query);
        self.outputs.retain(|output| !matches!(output, Output::Done { query: done, .. } if *done == query));
        self.forget_ended();
    }

    /// Takes the outcome of a call; an unknown or ended call is ignored. `from` is the address that the answer came
    /// from, as the connection proved; `None` without an answer, or if the connection is relayed.
    pub fn handle_answer(
        &mut self,
        now: Now,
        call: CallId,
        from: Option<IpAddr>,
        answer: Result<Response, CallFailed>,
    ) {
        self.wake(now);
        let Some(call) = self.calls.end(call) else { return };
        self.note_outcome(now, &call, from, &answer);
        match call.purpose {
            Purpose::Step(query) => self.step_answered(now, query, call.to, from, answer),
            Purpose::Put(query) => self.put_answered(now, query, &answer),
            Purpose::Check | Purpose::First { .. } | Purpose::Handover => self.upkeep.checks -= 1,
        }
        self.drive_starved(now);
        self.keep_up(now);
    }

    /// The next output. To be called after every other method, until it returns `None`.
    pub fn poll(&mut self, _now: Now) -> Option<Output> {
        let output = self.outputs.pop_front();
        if matches!(output, Some(Output::Misbehaved { .. })) {
            self.reports -= 1;
        }
        output
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let end = self.ends.front().map(|(at, _)| *at);
        self.calls.next_timeout().into_iter().chain(end).chain(self.upkeep.next_tick).min()
    }

    /// Ends slow calls and jobs whose time is over, and does the periodic work. To be called at [`Self::next_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.wake(now);
        while let Some(call) = self.calls.next_slow(now.at) {
            if let (Purpose::Step(query), key) = (call.purpose, call.to.key) {
                self.step_is_slow(now, query, &key);
            }
        }
        while let Some(call) = self.calls.next_late(now.at) {
            self.handle_answer(now, call, None, Err(CallFailed::Unreachable));
        }
        while let Some((_, query)) = self.ends.front().filter(|(at, _)| *at <= now.at).copied() {
            self.ends.pop_front();
            self.time_out(now, query);
        }
        if self.upkeep.next_tick.is_some_and(|due| due <= now.at) {
            self.upkeep.next_tick = Some(now.at + TICK);
            self.tick(now);
        }
        self.keep_up(now);
    }

    /// All contacts of the routing table.
    pub fn contacts(&self) -> impl Iterator<Item = NodeId> {
        self.table.entries().filter_map(|entry| entry.records.iter().next()).map(|record| record.node)
    }

    /// The contacts closest to this node, at most [`limits::K`], that answered their last call and may be disclosed to
    /// a peer in `zone`: for peers that need others (exchange). A node's neighbours are a sample of the network: keys
    /// are hashes, so they are neither older nor better connected than other nodes.
    pub fn neighbours(&self, zone: Zone) -> Vec<Arc<AddressRecord>> {
        let near = self.table.closest(self.table.own(), limits::K, |entry| entry.failures == 0);
        near.into_iter().filter_map(|entry| entry.records.told_to(zone)).map(Arc::clone).collect()
    }

    /// The job that a call in flight belongs to; `None` for a call of upkeep or an unknown one.
    pub fn query_of(&self, call: CallId) -> Option<QueryId> {
        self.calls.query_of(call)
    }

    /// Whether this node has looked up its own neighbourhood.
    pub fn has_joined(&self) -> bool {
        self.upkeep.has_joined()
    }

    /// Sizes and counters.
    pub fn stats(&self) -> DhtStats {
        let records = self.store.total();
        DhtStats {
            contacts: self.table.len(),
            sound_contacts: self.table.entries().filter(|entry| entry.failures == 0).count(),
            buckets: self.table.used_buckets(),
            table_bytes: self.table.bytes(),
            records: records.count,
            record_bytes: records.bytes,
            providers: self.providers.len(),
            queries: self.queries.len(),
            calls: self.calls.len(),
            joined: self.upkeep.has_joined(),
            counts: Counts { evicted: self.store.evicted + self.providers.evicted, ..self.counts.clone() },
        }
    }

    /// Whether this node answers questions: it has an address record.
    fn serves(&self) -> bool {
        self.addresses.iter().next().is_some()
    }

    /// Starts the clock at the first call: [`Moment`] 0. Every method that acts on the time calls it first.
    fn wake(&mut self, now: Now) {
        if self.began.is_none() {
            self.began = Some(now.at);
            // Nodes that start together must not do their upkeep together.
            self.upkeep.next_tick = Some(now.at + TICK.mul_f64(self.random.random_range(0.1..1.0)));
        }
    }

    fn moment(&self, now: Now) -> Moment {
        let since = self.began.map_or(0, |began| now.at.saturating_duration_since(began).as_secs());
        Moment(u32::try_from(since).unwrap_or(u32::MAX))
    }

    /// The start of the current second: token buckets, too, count whole seconds.
    fn second(&self, now: Now) -> Instant {
        let since = Duration::from_secs(self.moment(now).0.into());
        self.began.map_or(now.at, |began| began + since)
    }

    fn next_query(&mut self) -> QueryId {
        self.last_query += 1;
        QueryId(self.last_query)
    }

    fn random_bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// Removes a node that lied, and reports it to the driver.
    fn lied(&mut self, node: NodeId, why: Lie) {
        self.counts.lies += 1;
        self.table.remove(&Key::of_node(node));
        self.met.remove(&Key::of_node(node));
        if self.reports >= MAX_REPORTS {
            self.counts.reports_dropped += 1;
            return;
        }
        self.reports += 1;
        self.outputs.push_back(Output::Misbehaved { node, why });
    }
}
