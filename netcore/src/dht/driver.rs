//! The driver of a node's [`Dht`]: one task owns the engine, performs what it asks for, and answers the holders of a
//! [`super::DhtHandle`].
//!
//! ```text
//! gateway, gossip, discovery ──► DhtHandle ──Command──► driver ──► Dht ──Output::Call──► query::ask
//! query::serve (a peer asks) ──────┘                       ▲                                 │
//!                                                          └────────── its answer ◄──────────┘
//! ```

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{
    CallFailed, CallId, Dht, DhtConfig, Job, Outcome, Output, QueryId, Request, Response, limits,
};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::handle::{Command, DhtHandle};
use crate::clock;
use crate::node::Node;
use crate::query::{Queries, Unanswered};

/// The protocol's name on query connections.
pub(crate) const KAD: &str = "kad/1";
/// Timeout of one call, a new connection included: two round trips with three lost packets at the far side of the
/// world.
const CALL: Duration = Duration::from_secs(3);
/// Calls in flight, whatever the engine asks for: calls that the engine no longer waits for may still run here.
const MAX_CALLS: usize = 2 * limits::MAX_CALLS;
/// Interval at which lookups are cancelled whose callers have given up.
const SWEEP: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Outcome, Failure>>;
type Answered = (CallId, Option<IpAddr>, Result<Response, CallFailed>);

struct Driver {
    node: Arc<Node>,
    queries: Arc<Queries>,
    dht: Dht,
    protocol: Protocol,
    /// The callers by job, and whether the job is a lookup: one without a caller is of no use.
    waiting: HashMap<QueryId, (Reply, bool)>,
    /// Deadlines at which searches end with what they have found; at most as many as jobs.
    ends: BTreeSet<(Instant, QueryId)>,
    calls: JoinSet<Answered>,
}

/// Runs the driver until it is dropped.
pub(crate) async fn run(node: Arc<Node>, queries: Arc<Queries>, handle: Arc<DhtHandle>, seed: [u8; 32]) {
    let Some(mut inbox) = handle.inbox() else { return };
    let protocol = KAD.parse().expect("a protocol's name");
    let dht = Dht::new(Arc::clone(&node.keys), DhtConfig::default(), seed);
    let mut driver =
        Driver { node, queries, dht, protocol, waiting: HashMap::new(), ends: BTreeSet::new(), calls: JoinSet::new() };
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        driver.perform();
        handle.set_stats(driver.dht.stats());
        let end = driver.ends.first().map(|(at, _)| *at);
        let due = driver.dht.next_timeout().into_iter().chain(end).min();
        tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => driver.handle(command),
                None => return,
            },
            Some(answered) = driver.calls.join_next() => {
                // The task of a call neither panics nor is aborted.
                if let Ok((call, from, answer)) = answered {
                    driver.dht.handle_answer(clock::now(), call, from, answer);
                }
            }
            // Timers of the engine, and deadlines of searches that end with what they have found.
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                let now = clock::now();
                while let Some((at, query)) = driver.ends.pop_first() {
                    if at > now.at {
                        driver.ends.insert((at, query));
                        break;
                    }
                    driver.dht.conclude(now, query);
                }
                driver.dht.handle_timeout(now);
            }
            // A caller that gave up drops its receiver; nothing wakes the driver then.
            _ = sweep.tick(), if !driver.waiting.is_empty() => driver.sweep(),
        }
    }
}

impl Driver {
    fn handle(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Job(job, until, reply) => {
                // Storing goes on when its caller gives up: the record or listing is wanted all the same.
                let lookup = matches!(job, Job::Locate(_) | Job::Look(_) | Job::Get { .. } | Job::Providers { .. });
                match self.dht.start(now, job) {
                    Ok(query) => {
                        self.waiting.insert(query, (reply, lookup));
                        self.ends.extend(until.map(|until| (until, query)));
                    }
                    Err(busy) => {
                        let _ = reply.send(Err(Failure::new(ErrorCode::Busy, busy.to_string())));
                    }
                }
            }
            Command::Request(asker, request, reply) => {
                let _ = reply.send(self.dht.handle_request(now, &asker, *request));
            }
            Command::Add(record) => self.dht.add(now, record),
            Command::Meet(record, ip) => self.dht.meet(now, record, ip),
            Command::SetOwn(records) => self.dht.set_own(now, records),
            Command::Neighbours(zone, reply) => {
                let _ = reply.send(self.dht.neighbours(zone));
            }
        }
    }

    /// Performs all outputs of the engine.
    fn perform(&mut self) {
        while let Some(output) = self.dht.poll(clock::now()) {
            match output {
                Output::Call { call, to, request } => self.call(call, to, &request),
                Output::Done { query, outcome } => {
                    if let Some((reply, _)) = self.waiting.remove(&query) {
                        let _ = reply.send(Ok(outcome)); // fails if the caller has given up
                    }
                }
                Output::Misbehaved { node, why } => {
                    self.node.counters.dht_lies.count();
                    tracing::debug!(%node, %why, "a node lied");
                    if let Ok(peers) = self.node.peers() {
                        peers.score(node, ScoreEvent::Lie);
                    }
                }
            }
        }
    }

    fn call(&mut self, call: CallId, to: Arc<AddressRecord>, request: &Request) {
        if self.calls.len() >= MAX_CALLS {
            self.node.counters.dht_calls_dropped.count();
            self.dht.handle_answer(clock::now(), call, None, Err(CallFailed::NotTried));
            return;
        }
        let (queries, protocol, payload) = (Arc::clone(&self.queries), self.protocol.clone(), request.encode());
        self.calls.spawn(async move {
            let asked = queries.question(to.node, &to.addresses, &protocol, payload, Instant::now() + CALL).await;
            let from = asked.as_ref().ok().and_then(|reply| reply.from);
            let answer = match asked {
                Ok(reply) => Response::decode(&reply.bytes).map_err(|error| {
                    tracing::debug!(peer = %to.node, %error, "a malformed answer");
                    CallFailed::Malformed
                }),
                Err(error) => Err(failed(&error)),
            };
            (call, from, answer)
        });
    }

    /// Cancels lookups whose callers have given up.
    fn sweep(&mut self) {
        let gone = self.waiting.iter().filter(|(_, (reply, lookup))| *lookup && reply.is_closed());
        let gone: Vec<QueryId> = gone.map(|(query, _)| *query).collect();
        for query in gone {
            self.waiting.remove(&query);
            self.dht.cancel(query);
        }
    }
}

fn failed(error: &Unanswered) -> CallFailed {
    match error {
        Unanswered::NotTried(_) => CallFailed::NotTried,
        Unanswered::Refused(failure) if failure.is(ErrorCode::Busy) || failure.is(ErrorCode::TooManyStreams) => {
            CallFailed::Busy
        }
        Unanswered::Refused(_) => CallFailed::Malformed,
        Unanswered::Unreachable(_) => CallFailed::Unreachable,
    }
}
