//! Questions to each discovery source. Every question ends by itself, within seconds. `seeds` has those that name
//! addresses to begin with (DNS, lists), `exchange` those to peers, `neighbours` the local network.

mod exchange;
mod neighbours;
mod seeds;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::Key;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::mainline::Rendezvous;
use super::{Discovery, list, reachable};
use crate::clock;
use crate::node::Node;
use crate::random;
use exchange::ask_peers;
pub(super) use exchange::{EXCHANGE, take};
use seeds::{ask_dns, ask_list, dial_seeds};

/// Timeout of a DHT lookup.
const LOOKUP: Duration = Duration::from_secs(10);
/// Most nodes of a DHT lookup that are dialed.
const MAX_CONTACTS: usize = 16;
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
}

fn remembered(node: &Node) -> Answer {
    match node.peers().map(crate::peers::Peers::remembered) {
        Ok(Ok(count)) => Answer { named: count as u64, problem: None },
        Ok(Err(problem)) => Answer::failed(problem),
        Err(_) => Answer::default(),
    }
}

/// Hands the address record of a candidate to the peer manager, which dials it if it needs peers.
pub(super) fn dial(node: &Node, record: &AddressRecord, source: Source) {
    if let Ok(peers) = node.peers() {
        peers.found(record.node, &record.addresses, source);
    }
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
    let (node, settings) = (&discovery.node, discovery.state().settings.clone());
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
