//! The distributed hash table: Kademlia (Maymounkov and Mazières 2002) over authenticated connections, with the disjoint
//! paths of S/Kademlia (Baumgart and Mies 2007). Nodes that a peer has dialed back keep records and tell of each other; the
//! others only ask. `PROTOCOL.md`, section 10, has the bytes and the rules between nodes.
//!
//! ```text
//!   start ──► query ──► lookup ──► step ─┐                    ┌─► answer ──► table, store, providers
//!                └────► spread ──► put ──┼─► calls ─► Output  │
//!   tick ──► upkeep ──► check, handover ─┘       ▲            handle_request (quota, rate)
//!                                                └── handle_answer
//! ```
//!
//! [`Dht`] is driven by netcore's `dht::driver`, or by the simulator. Each file owns the decisions
//! about one thing: `job_api` starts and ends jobs, `lookup_steps` advances them, `ingest` takes in answers,
//! `store_requests` stores records on other nodes, `serve` answers requests, `upkeep` does the periodic work.

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
use rate::{Rates, payer};
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

/// The machine of one node.
pub struct Dht {
    keys: SharedKeys,
    node: NodeId,
    key: Key,
    config: DhtConfig,
    random: StdRng,
    /// When it was first told the time: what [`Moment`] counts from.
    began: Option<Instant>,
    /// Where this node can be reached; empty for a client.
    addresses: Records,
    table: Table,
    met: Met,
    store: Store,
    providers: Providers,
    rates: Rates,
    calls: Calls,
    queries: BTreeMap<QueryId, Query>,
    /// When each ends at the latest, in order.
    ends: VecDeque<(Instant, QueryId)>,
    /// Those that wait for a place among the calls, in order.
    starved: VecDeque<QueryId>,
    last_query: u64,
    own: Own,
    upkeep: Upkeep,
    /// What to say: as many as there are calls and queries, and [`MAX_REPORTS`].
    outputs: VecDeque<Output>,
    /// Reports of lies among them.
    reports: usize,
    /// Calls that failed since one was answered.
    failed_in_a_row: u32,
    counts: Counts,
}

impl Dht {
    /// One that knows nobody. `seed` is where all its randomness comes from.
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

    /// Tells where this node can be reached: one record for each zone in which a peer has dialed it back. With none it is a
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
            // Its neighbours do not know it yet, or not there.
            self.upkeep.join_again();
        }
        if !served && self.serves() {
            self.own.provide_at_once();
        }
        self.keep_up(now);
    }

    /// Tells of a node that may serve: it becomes a contact once it has answered.
    pub fn add(&mut self, now: Now, record: Arc<AddressRecord>) {
        self.wake(now);
        self.consider(now, Contact::new(record), None);
        self.keep_up(now);
    }

    /// As [`Self::add`], of a peer that sent its own record from `ip`: own lookups begin at such nodes too.
    pub fn meet(&mut self, now: Now, record: Arc<AddressRecord>, ip: IpAddr) {
        if record.node != self.node {
            self.met.add(Contact::new(Arc::clone(&record)), payer(ip));
        }
        self.add(now, record);
    }

    /// Answers a question.
    pub fn handle_request(&mut self, now: Now, asker: &Asker, request: Request) -> Response {
        self.wake(now);
        let response = self.serve(now, asker, request);
        self.keep_up(now);
        response
    }

    /// Begins a job; it ends with one [`Output::Done`].
    pub fn start(&mut self, now: Now, job: Job) -> Result<QueryId, Busy> {
        self.wake(now);
        // That needs no place, and must not be forgotten for lack of one.
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

    /// Ends a job without an [`Output::Done`]. What it was to keep in the table goes on being put again.
    pub fn cancel(&mut self, query: QueryId) {
        self.queries.remove(&query);
        self.starved.retain(|starved| *starved != query);
        self.outputs.retain(|output| !matches!(output, Output::Done { query: done, .. } if *done == query));
        self.forget_ended();
    }

    /// Takes what became of a call. One that is not known any more means nothing. `from` is where the packets of the answer came
    /// from, as the connection proved; `None` without an answer, or if it came through others.
    pub fn handle_answer(
        &mut self,
        now: Now,
        call: CallId,
        from: Option<IpAddr>,
        answer: Result<Response, CallFailed>,
    ) {
        self.wake(now);
        let Some(call) = self.calls.end(call) else { return };
        self.note(now, &call, from, &answer);
        match call.purpose {
            Purpose::Step(query) => self.stepped(now, query, call.to, from, answer),
            Purpose::Put(query) => self.put_answered(now, query, &answer),
            Purpose::Check | Purpose::First { .. } | Purpose::Handover => self.upkeep.checks -= 1,
        }
        self.feed(now);
        self.keep_up(now);
    }

    /// The next thing to do or to say; to be called until it has none, after every other call.
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

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.wake(now);
        while let Some(call) = self.calls.next_slow(now.at) {
            if let (Purpose::Step(query), key) = (call.purpose, call.to.key) {
                self.slowed(now, query, &key);
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

    /// Every contact of the table.
    pub fn contacts(&self) -> impl Iterator<Item = NodeId> {
        self.table.entries().filter_map(|entry| entry.records.iter().next()).map(|record| record.node)
    }

    /// The closest contacts, those that answered lately and that a peer in `zone` may be told of: for peers that need others.
    /// Of all contacts they alone are neither older nor better connected than any node of the network.
    pub fn neighbours(&self, zone: Zone) -> Vec<Arc<AddressRecord>> {
        let near = self.table.closest(self.table.own(), limits::K, |entry| entry.failures == 0);
        near.into_iter().filter_map(|entry| entry.records.told_to(zone)).map(Arc::clone).collect()
    }

    /// The job that a call in flight is for; `None` for a call that only upkeep needs, or that is not known.
    pub fn query_of(&self, call: CallId) -> Option<QueryId> {
        self.calls.query_of(call)
    }

    /// Whether it has looked up its own neighbourhood.
    pub fn has_joined(&self) -> bool {
        self.upkeep.has_joined()
    }

    /// How it fares.
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

    /// Whether it answers others.
    fn serves(&self) -> bool {
        self.addresses.iter().next().is_some()
    }

    /// To be called first with every time it is told.
    fn wake(&mut self, now: Now) {
        if self.began.is_none() {
            self.began = Some(now.at);
            // Nodes started together must not do their upkeep together.
            self.upkeep.next_tick = Some(now.at + TICK.mul_f64(self.random.random_range(0.1..1.0)));
        }
    }

    fn moment(&self, now: Now) -> Moment {
        let since = self.began.map_or(0, |began| now.at.saturating_duration_since(began).as_secs());
        Moment(u32::try_from(since).unwrap_or(u32::MAX))
    }

    /// The start of the second that `now` is in: token buckets too count whole seconds.
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

    /// Says that a node lied.
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
