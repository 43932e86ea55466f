//! Sources of nodes to begin with: DNS and lists. Both name tickets, and addresses without a node id.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::seeds::Entry;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use polypeer_ipc_protocol::ticket::Ticket;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use super::Answer;
use crate::clock;
use crate::discovery::{Discovery, dns, list, reachable};
use crate::node::Node;

/// Most addresses without a node id that are dialed per question: enough that some answer, few enough for a burst.
const MAX_SEEDS: usize = 8;
/// Most tickets used per question.
const MAX_TICKETS: usize = 16;

pub(super) async fn ask_dns(discovery: &Arc<Discovery>) -> Answer {
    let DiscoverySettings { dns_seeds, resolver, .. } = discovery.state().settings.clone();
    let found = dns::resolve(&dns_seeds, resolver).await;
    let named = (found.addresses.len() + found.tickets.len()) as u64;
    follow(&discovery.node, found.tickets, Source::Dns);
    let answered = dial_seeds(discovery, found.addresses, Source::Dns).await;
    let mut problems = found.problems;
    problems.extend(answered.err());
    Answer { named, problem: (!problems.is_empty()).then(|| problems.join("; ")) }
}

pub(super) async fn ask_list(discovery: &Arc<Discovery>) -> Answer {
    let (mut tickets, mut addresses) = (Vec::new(), Vec::new());
    let entries = list::entries(&discovery.state().settings);
    for entry in entries {
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
pub(super) async fn dial_seeds(
    discovery: &Arc<Discovery>,
    addresses: Vec<SocketAddr>,
    source: Source,
) -> Result<(), String> {
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
