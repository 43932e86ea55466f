//! Discovery: sources of peers. Each is bounded and can be switched off; its failures are shown in the status and never
//! fatal. What a source names is checked by a dial ([`crate::peers`]), and believed as far as `crosscheck` says.
//!
//! ```text
//!            schedule ── which source when ──► driver ──► sources: lan dns list exchange dht mainline
//!  (engine)  crosscheck ── who is verified ────┤                 │ records, tickets, addresses
//!            exchange ── what peers are told ──┤                 ▼
//!  query ── exchange/1 ──► answer              └──────────► peers: dial, and see who answers
//! ```
//!
//! `mdns_port` tells whether `lan` can share the port of multicast DNS.
//!
//! A node that refuses a link because it is full is asked for other nodes nevertheless: `full`, called by the driver.
//!
//! [`crate::services`] starts the driver, and `health_log`, which logs when a source fails. What decides is in
//! [`polypeer_engine::discovery`]; the order of the sources is that of [`Source::ASKED`].

pub mod dns;
pub(crate) mod driver;
mod full;
pub(crate) mod health_log;
pub mod lan;
pub mod list;
pub mod mainline;
mod mdns_port;
mod sources;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polypeer_engine::address::{AddressRecord, Zone};
use polypeer_engine::discovery::crosscheck::CrossCheck;
use polypeer_engine::discovery::exchange::{Exchange, Refusal};
use polypeer_engine::discovery::schedule::{Schedule, ScheduleConfig, SourceReport, SourceState};
use polypeer_engine::now::Now;
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::source::{Introduction, Source};
use polypeer_ipc_protocol::admin::SourceStatus;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::dht::DhtHandle;
use crate::node::Node;
use crate::query::Queries;
use crate::random;

/// The internal protocol by which peers name others.
pub const EXCHANGE: &str = "exchange/1";

/// Discovery of one node.
#[derive(Debug)]
pub struct Discovery {
    node: Arc<Node>,
    queries: Arc<Queries>,
    dht: Arc<DhtHandle>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Tells the driver of new settings.
    renewed: Notify,
}

/// The state machines, under one lock that is never held across an await.
#[derive(Debug)]
struct State {
    settings: DiscoverySettings,
    schedule: Schedule,
    exchange: Exchange,
    check: CrossCheck,
    seeds: Seeds,
}

impl State {
    /// How `source` introduced the node at `address`. A listed address without a node id is as unverified as any seed.
    fn introduction(&self, now: Now, source: Source, address: SocketAddr) -> Introduction {
        let trusts_addresses = matches!(source, Source::Ticket | Source::Lan);
        match source.introduction() {
            Introduction::Trusted if !trusts_addresses && self.seeds.is_one(now, address) => Introduction::Seed,
            introduction => introduction,
        }
    }
}

/// Addresses that were dialed recently without a node id.
#[derive(Debug, Default)]
struct Seeds(BTreeMap<SocketAddr, Instant>);

impl Seeds {
    /// Most addresses; the oldest one makes room. Eight are dialed at a time.
    const MOST: usize = 256;
    /// Time for which an address is kept: far longer than a dial.
    const LATELY: Duration = Duration::from_secs(60);

    fn dialing(&mut self, now: Now, addresses: &[SocketAddr]) {
        self.0.extend(addresses.iter().map(|address| (*address, now.at)));
        while self.0.len() > Self::MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
        {
            self.0.remove(&oldest);
        }
    }

    fn is_one(&self, now: Now, address: SocketAddr) -> bool {
        self.0.get(&address).is_some_and(|at| *at + Self::LATELY > now.at)
    }
}

impl Discovery {
    /// `low` is the low watermark.
    pub(crate) fn new(
        node: Arc<Node>,
        queries: Arc<Queries>,
        dht: Arc<DhtHandle>,
        settings: DiscoverySettings,
        low: usize,
    ) -> Self {
        let schedule = ScheduleConfig { enabled: sources::enabled(&settings), low };
        let state = State {
            settings,
            schedule: Schedule::new(schedule, clock::now(), random::bytes()),
            exchange: Exchange::new(Arc::clone(&node.keys), random::bytes()),
            check: CrossCheck::new(low),
            seeds: Seeds::default(),
        };
        let (changed, renewed) = Default::default();
        Self { node, queries, dht, state: Mutex::new(state), changed, renewed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the nodes to begin with from `new`. Sources that have others now are asked soon.
    ///
    /// # Errors
    /// When the settings break a rule.
    pub(crate) fn set_seeds(&self, new: &DiscoverySettings) -> Result<(), Failure> {
        new.check().map_err(|invalid| Failure::new(ErrorCode::BadArgument, invalid.to_string()))?;
        let (mut state, now) = (self.state(), clock::now());
        let old = state.settings.clone();
        state.settings.take_seeds(new);
        let on = sources::enabled(&state.settings);
        if old.dns_seeds != new.dns_seeds {
            state.schedule.renew(now, Source::Dns, on.contains(&Source::Dns));
        }
        if (old.builtin, &old.list) != (new.builtin, &new.list) {
            state.schedule.renew(now, Source::List, on.contains(&Source::List));
        }
        self.renewed.notify_one();
        Ok(())
    }

    /// Notifies of each possible change of the status of sources and seeds, including peers that connect or disconnect.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn has_changed(&self) {
        self.changed.send_replace(());
    }

    /// Takes a peer's own address record, received on its link and verified: other peers may be told of it.
    pub(crate) fn heard(&self, record: Arc<AddressRecord>) {
        self.state().exchange.learn(clock::now(), record);
    }

    /// Whether a peer is a seed that no second source has named.
    pub fn is_unverified(&self, node: &NodeId) -> bool {
        self.state().check.is_unverified(node)
    }

    /// A warning for the operator about what Mainline publishes, while it is on.
    pub(crate) fn warning(&self) -> Option<String> {
        let report = self.state().schedule.report().into_iter().find(|report| report.source == Source::Mainline)?;
        mainline_warning(report.state).map(str::to_owned)
    }

    /// Status of every source that can be asked, in that order.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let reports = self.state().schedule.report();
        let status = |report: SourceReport| {
            let found = self.node.peers().ok().and_then(|peers| peers.found_by(report.source));
            SourceStatus {
                name: report.source.name().into(),
                enabled: report.state != SourceState::Off,
                state: report.state.name().into(),
                last_success_s: found.map(|(_, at)| at.elapsed().as_secs()),
                found: found.map_or(0, |(count, _)| count),
                problem: report.problem,
            }
        };
        reports.into_iter().map(status).collect()
    }
}

fn mainline_warning(state: SourceState) -> Option<&'static str> {
    match state {
        SourceState::Off => None,
        SourceState::Failing => Some(
            "Mainline is turned on and fails at the moment: as soon as it works, everybody can learn this node's IP \
             address there, and that it runs Polypeer; turn it off with [discovery.mainline] enabled = false",
        ),
        _ => Some(
            "this node is listed in the BitTorrent Mainline DHT: everybody can learn its IP address there, and that \
             it runs Polypeer; turn it off with [discovery.mainline] enabled = false",
        ),
    }
}

/// Answers a question of `exchange/1`.
pub(crate) async fn answer(
    discovery: &Discovery,
    asker: NodeId,
    ip: IpAddr,
    payload: &[u8],
) -> Result<Vec<u8>, Failure> {
    let node = &discovery.node;
    if !discovery.state().settings.exchange {
        return Err(Failure::new(ErrorCode::Unsupported, "this node exchanges no peers"));
    }
    let admitted = discovery.state().exchange.admit(clock::now(), &asker, payload);
    let wanted = admitted.map_err(|refusal| {
        node.counters.exchange_refused.count();
        let (code, event) = match refusal {
            // A restarted node has forgotten its question: no offence.
            Refusal::TooSoon => (ErrorCode::Busy, None),
            Refusal::Flood => (ErrorCode::Busy, Some(ScoreEvent::Flood)),
            Refusal::Malformed => (ErrorCode::PeerMisbehaved, Some(ScoreEvent::Misbehaved)),
        };
        if let (Some(event), Ok(peers)) = (event, node.peers()) {
            peers.score(asker, event);
        }
        Failure::new(code, refusal.to_string())
    })?;
    let mut neighbours = discovery.dht.neighbours(Zone::of(ip)).await;
    // Blocked and banned nodes are not told.
    neighbours.retain(|record| node.peers().is_ok_and(|peers| peers.check(&record.node).is_ok()));
    Ok(discovery.state().exchange.reply(clock::now(), &asker, ip, wanted, &neighbours))
}

/// Those of `addresses` that this node's sockets can send to.
fn reachable(node: &Node, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Ok(peers) = node.peers() else { return Vec::new() };
    addresses.iter().copied().filter(|address| peers.transport().reaches(*address)).collect()
}
