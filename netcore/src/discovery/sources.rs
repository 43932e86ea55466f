//! Questions to each discovery source. Every question ends by itself, within seconds.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::Key;
use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::seeds::Entry;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use polypeer_ipc_protocol::ticket::Ticket;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::lan::{self, LanConfig, LanEvent};
use super::mainline::Rendezvous;
use super::{Discovery, dns, list, reachable};
use crate::clock;
use crate::node::Node;
use crate::random;

/// Most addresses without a node id that are dialed per question: enough that some answer, few enough for a burst.
const MAX_SEEDS: usize = 8;
/// Most tickets used per question.
const MAX_TICKETS: usize = 16;
/// Peers asked for others at a time.
const ASKED_PEERS: usize = 3;
/// Timeout of a question of `exchange/1`.
pub(super) const EXCHANGE: Duration = Duration::from_secs(5);
/// Timeout of a DHT lookup.
const LOOKUP: Duration = Duration::from_secs(10);
/// Most nodes of a DHT lookup that are dialed.
const MAX_CONTACTS: usize = 16;
/// Most nodes of the local network that are counted.
const MAX_NEIGHBOURS: usize = 1024;

/// Answer to a question.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Number of candidates.
    pub(super) named: u64,
    /// What failed, for people.
    pub(super) problem: Option<String>,
}

impl Answer {
    fn failed(problem: impl Into<String>) -> Self {
        Self { named: 0, problem: Some(problem.into()) }
    }
}

type Question = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The sources that are on and have something to ask.
pub(super) fn enabled(settings: &DiscoverySettings) -> Vec<Source> {
    let is_on = |source: &Source| match source {
        Source::Remembered => settings.remembered,
        Source::Lan => settings.lan,
        Source::Dns => !settings.dns_seeds.is_empty(),
        Source::List => !list::entries(settings).is_empty(),
        Source::Exchange => settings.exchange,
        Source::Dht => settings.dht,
        Source::Mainline => settings.mainline.enabled,
        Source::Ticket | Source::Peer | Source::Incoming => false, // cannot be asked
    };
    Source::ASKED.into_iter().filter(is_on).collect()
}

/// Asks the sources, and keeps what two of them need between questions.
pub(super) struct Sources {
    discovery: Arc<Discovery>,
    /// Browses the local network, from the first question on.
    lan: JoinSet<()>,
    lan_problem: Arc<Mutex<Option<String>>>,
    /// A random number of this run of the node.
    run: u64,
    neighbours: Arc<Mutex<BTreeSet<NodeId>>>,
    mainline: Arc<tokio::sync::Mutex<Option<Rendezvous>>>,
}

impl Sources {
    pub(super) fn new(discovery: Arc<Discovery>) -> Self {
        let run = u64::from_le_bytes(random::bytes());
        let (neighbours, mainline) = (Arc::default(), Arc::default());
        Self { discovery, lan: JoinSet::new(), lan_problem: Arc::default(), run, neighbours, mainline }
    }

    pub(super) fn ask(&mut self, source: Source) -> Question {
        let discovery = Arc::clone(&self.discovery);
        match source {
            Source::Ticket | Source::Peer | Source::Incoming => Box::pin(std::future::ready(Answer::default())),
            Source::Remembered => Box::pin(async move { remembered(&discovery.node) }),
            Source::Lan => Box::pin(std::future::ready(self.lan())),
            Source::Dns => Box::pin(async move { ask_dns(&discovery).await }),
            Source::List => Box::pin(async move { ask_list(&discovery).await }),
            Source::Exchange => Box::pin(async move { ask_peers(&discovery).await }),
            Source::Dht => Box::pin(async move { ask_dht(&discovery).await }),
            Source::Mainline => {
                let mainline = Arc::clone(&self.mainline);
                Box::pin(async move { ask_mainline(&discovery, &mainline).await })
            }
        }
    }

    /// Starts browsing, or restarts it after a failure; names the nodes found so far.
    fn lan(&mut self) -> Answer {
        while self.lan.try_join_next().is_some() {}
        if self.lan.is_empty() {
            let node = &self.discovery.node;
            let Ok(peers) = node.peers() else { return Answer::default() };
            let bound = peers.transport().local_addresses();
            let config = LanConfig { node: node.id, network: node.network.clone(), bound, run: self.run };
            let (discovery, neighbours) = (Arc::clone(&self.discovery), Arc::clone(&self.neighbours));
            let problem = Arc::clone(&self.lan_problem);
            self.lan.spawn(lan::run(config, move |event| on_lan(&discovery, &neighbours, &problem, event)));
        }
        let count = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).len();
        let problem = self.lan_problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answer { named: count as u64, problem }
    }
}

fn on_lan(
    discovery: &Discovery,
    neighbours: &Mutex<BTreeSet<NodeId>>,
    present_problem: &Mutex<Option<String>>,
    event: LanEvent,
) {
    let set_problem = |problem: Option<String>| {
        (*present_problem.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&problem);
        discovery.state().schedule.problem(Source::Lan, problem);
    };
    match event {
        LanEvent::Found(found, addresses) => {
            let is_new = {
                let mut neighbours = neighbours.lock().unwrap_or_else(PoisonError::into_inner);
                neighbours.len() < MAX_NEIGHBOURS && neighbours.insert(found)
            };
            if is_new {
                discovery.state().schedule.named(clock::now(), Source::Lan, 1);
            }
            if let Ok(peers) = discovery.node.peers() {
                peers.found(found, &addresses, Source::Lan);
            }
        }
        LanEvent::Lost(lost) => {
            neighbours.lock().unwrap_or_else(PoisonError::into_inner).remove(&lost);
        }
        LanEvent::Problem(problem) => {
            tracing::debug!(source = Source::Lan.name(), problem, "looking for peers");
            discovery.state().schedule.problem(Source::Lan, Some(problem));
        }
        LanEvent::Failing(problem) => set_problem(Some(problem)),
        LanEvent::Working => set_problem(None),
        LanEvent::Twin(addresses) => {
            if let Ok(peers) = discovery.node.peers() {
                let own = peers.ticket().addresses;
                let theirs = addresses.iter().find(|address| !own.contains(address)).or(addresses.first());
                theirs.iter().for_each(|address| peers.twin_announced(**address));
            }
        }
    }
    discovery.has_changed();
}

fn remembered(node: &Node) -> Answer {
    match node.peers().map(crate::peers::Peers::remembered) {
        Ok(Ok(count)) => Answer { named: count as u64, problem: None },
        Ok(Err(problem)) => Answer::failed(problem),
        Err(_) => Answer::default(),
    }
}

async fn ask_dns(discovery: &Arc<Discovery>) -> Answer {
    let settings = &discovery.settings;
    let found = dns::resolve(&settings.dns_seeds, settings.resolver).await;
    let named = (found.addresses.len() + found.tickets.len()) as u64;
    follow(&discovery.node, found.tickets, Source::Dns);
    let answered = dial_seeds(discovery, found.addresses, Source::Dns).await;
    let mut problems = found.problems;
    problems.extend(answered.err());
    Answer { named, problem: (!problems.is_empty()).then(|| problems.join("; ")) }
}

async fn ask_list(discovery: &Arc<Discovery>) -> Answer {
    let (mut tickets, mut addresses) = (Vec::new(), Vec::new());
    for entry in list::entries(&discovery.settings) {
        match entry {
            Entry::Ticket(ticket) => tickets.push(ticket),
            Entry::Address(address) => addresses.push(address),
        }
    }
    let named = (tickets.len() + addresses.len()) as u64;
    follow(&discovery.node, tickets, Source::List);
    let problem = dial_seeds(discovery, addresses, Source::List).await.err();
    Answer { named, problem }
}

/// Dials some nodes of tickets, chosen at random.
fn follow(node: &Node, mut tickets: Vec<Ticket>, source: Source) {
    tickets.shuffle(&mut rand::rng());
    if let Ok(peers) = node.peers() {
        for ticket in tickets.iter().filter(|ticket| ticket.node != node.id).take(MAX_TICKETS) {
            peers.found(ticket.node, &ticket.addresses, source);
        }
    }
}

/// Dials some of the addresses, chosen at random, to see which nodes answer. Fails if none does.
async fn dial_seeds(discovery: &Arc<Discovery>, addresses: Vec<SocketAddr>, source: Source) -> Result<(), String> {
    let mut usable = reachable(&discovery.node, &addresses);
    if addresses.is_empty() || usable.is_empty() {
        return if addresses.is_empty() { Ok(()) } else { Err("this node has no socket for what it found".into()) };
    }
    usable.shuffle(&mut rand::rng());
    usable.truncate(MAX_SEEDS);
    discovery.state().seeds.dialing(clock::now(), &usable);
    let mut dials = JoinSet::new();
    for address in usable {
        let node = Arc::clone(&discovery.node);
        dials.spawn(async move {
            let Ok(peers) = node.peers() else { return Err((address, DialError::Stopping)) };
            match peers.dial_seed(address, source).await {
                Ok(_) => Ok(()),
                // This node itself.
                Err(DialError::OtherNode(other)) if other == node.id => Ok(()),
                Err(error) => Err((address, error)),
            }
        });
    }
    let (mut is_answered, mut problem) = (false, None);
    while let Some(dial) = dials.join_next().await {
        match dial {
            Ok(Ok(())) => is_answered = true,
            Ok(Err((address, error))) if error.is_busy() => {
                problem = Some(format!("{address}: it has no place for another peer; it is asked for other nodes"));
            }
            Ok(Err((address, error))) => problem = Some(format!("{address}: {error}")),
            Err(_) => {}
        }
    }
    if is_answered { Ok(()) } else { problem.map_or(Ok(()), Err) }
}

/// Hands the address record of a candidate to the peer manager, which dials it if it needs peers.
pub(super) fn dial(node: &Node, record: &AddressRecord, source: Source) {
    if let Ok(peers) = node.peers() {
        peers.found(record.node, &record.addresses, source);
    }
}

async fn ask_peers(discovery: &Arc<Discovery>) -> Answer {
    let Ok(peers) = discovery.node.peers() else { return Answer::default() };
    let connected = peers.connected();
    let chosen = discovery.state().exchange.choose_peers(clock::now(), connected, ASKED_PEERS);
    let mut questions = JoinSet::new();
    for peer in chosen {
        let discovery = Arc::clone(discovery);
        questions.spawn(async move { ask_peer(&discovery, peer).await });
    }
    let mut answer = Answer::default();
    while let Some(one) = questions.join_next().await {
        match one {
            Ok(Ok(named)) => answer.named += named,
            Ok(Err(problem)) => answer.problem = Some(problem),
            Err(_) => {}
        }
    }
    answer
}

/// Asks one peer for others. Returns how many it named that are not connected.
async fn ask_peer(discovery: &Arc<Discovery>, peer: NodeId) -> Result<u64, String> {
    let protocol = super::EXCHANGE.parse().expect("a protocol");
    let question = Exchange::question(MAX_RECORDS);
    let reply = discovery.queries.ask(peer, &[], &protocol, question, Instant::now() + EXCHANGE).await;
    let reply = reply.map_err(|failure| format!("{peer}: {failure}"))?;
    // The address of a peer decides which records it may tell; after a disconnect it is unknown.
    let provenance = discovery.node.peers().ok().and_then(|peers| peers.provenance(&peer));
    let Some((_, address)) = provenance else { return Ok(0) };
    take(discovery, peer, address.ip(), &reply).map(|(fresh, _)| fresh)
}

/// Takes a reply of `peer` at `ip` and dials the nodes that it named, if useful. Returns how many of them are not
/// connected, and the valid records.
pub(super) fn take(
    discovery: &Discovery,
    peer: NodeId,
    ip: IpAddr,
    reply: &[u8],
) -> Result<(u64, Vec<Arc<AddressRecord>>), String> {
    let node = &discovery.node;
    let peers = node.peers().map_err(|failure| failure.to_string())?;
    let (mut dials, mut fresh) = (Vec::new(), 0);
    let (lies, misplaced, records) = {
        let mut state = discovery.state();
        let now = clock::now();
        let reply = state.exchange.take(now, &peer, ip, reply);
        if reply.lies > 0 {
            state.exchange.forget(&peer); // nobody is told of a liar
        }
        for record in &reply.records {
            let is_connected = peers.connection(&record.node).is_some();
            fresh += u64::from(!is_connected);
            if state.check.introduced(now, &peer, Arc::clone(record)) && !is_connected {
                dials.push(Arc::clone(record));
            }
        }
        (reply.lies, reply.misplaced, reply.records)
    };
    node.counters.exchange_lies.add(lies);
    node.counters.exchange_misplaced.add(misplaced);
    // One false record may be an accident, two are not.
    for _ in 0..lies.min(2) {
        peers.score(peer, ScoreEvent::Lie);
    }
    if lies == 0 && !records.is_empty() {
        peers.score(peer, ScoreEvent::Useful);
    }
    for record in &dials {
        dial(node, record, Source::Exchange);
    }
    if lies > 0 { Err(format!("{peer} sent {lies} false records")) } else { Ok((fresh, records)) }
}

/// Looks up the nodes near a random key, which also fills the routing table, and dials some of them: an attacker who
/// chooses which nodes others report cannot choose these.
async fn ask_dht(discovery: &Arc<Discovery>) -> Answer {
    let node = &discovery.node;
    let Ok(peers) = node.peers() else { return Answer::default() };
    let somewhere = Key(random::bytes());
    // An empty routing table is no failure.
    let lookup = discovery.dht.look(somewhere, Instant::now() + LOOKUP).await;
    let (mut contacts, failure) = match lookup {
        Ok(near) => (near, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    contacts.retain(|record| {
        record.node != node.id
            && peers.connection(&record.node).is_none()
            && !reachable(node, &record.addresses).is_empty()
    });
    contacts.shuffle(&mut rand::rng());
    contacts.truncate(MAX_CONTACTS);
    let named = contacts.len() as u64;
    {
        let (mut state, now) = (discovery.state(), clock::now());
        contacts.retain(|record| state.check.looked_up(now, Arc::clone(record)));
    }
    for record in &contacts {
        dial(node, record, Source::Dht);
    }
    let nobody = failure.filter(|_| !peers.connected().is_empty());
    Answer { named, problem: nobody.map(|failure| failure.to_string()) }
}

async fn ask_mainline(discovery: &Arc<Discovery>, rendezvous: &tokio::sync::Mutex<Option<Rendezvous>>) -> Answer {
    let (node, settings) = (&discovery.node, &discovery.settings);
    let Ok(peers) = node.peers() else { return Answer::default() };
    let listens = peers.transport().local_addresses();
    let own = listens.iter().find_map(|address| match address {
        SocketAddr::V4(v4) => Some(*v4),
        SocketAddr::V6(_) => None,
    });
    let mut rendezvous = rendezvous.lock().await;
    if rendezvous.is_none() {
        // A node that listens on one address uses no other one here.
        let bind = own.map_or(Ipv4Addr::UNSPECIFIED, |own| *own.ip());
        match Rendezvous::start(&settings.mainline, bind, settings.resolver).await {
            Ok(ready) => *rendezvous = Some(ready),
            Err(problem) => return Answer::failed(problem),
        }
    }
    let Some(ready) = rendezvous.as_ref() else { return Answer::default() };
    match ready.meet(&node.network, own.map(|own| own.port()), clock::now().unix).await {
        Ok(addresses) => {
            let others: Vec<_> = addresses.into_iter().filter(|address| !listens.contains(address)).collect();
            let named = others.len() as u64;
            // Most announced nodes have gone by now, so it is no failure if none answers.
            if let Err(problem) = dial_seeds(discovery, others, Source::Mainline).await {
                tracing::debug!(problem, "no node found in Mainline answers");
            }
            Answer { named, problem: None }
        }
        Err(problem) => Answer::failed(problem),
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::settings::MainlineSettings;

    use super::*;

    #[test]
    fn source_without_anything_to_ask_is_off() {
        let nothing = DiscoverySettings { builtin: false, ..DiscoverySettings::default() };
        assert_eq!(enabled(&nothing), [Source::Remembered, Source::Lan, Source::Exchange, Source::Dht]);
        let all = DiscoverySettings {
            dns_seeds: vec!["seed.example.org".parse().expect("a host")],
            list: vec!["192.0.2.1:7470".parse().expect("an entry")],
            mainline: MainlineSettings { enabled: true, ..MainlineSettings::default() },
            ..nothing
        };
        assert_eq!(enabled(&all), Source::ASKED);
    }
}
