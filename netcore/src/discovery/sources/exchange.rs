//! Questions to peers for others (`exchange/1`), and what becomes of their answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use tokio::task::JoinSet;

use super::{Answer, dial};
use crate::clock;
use crate::discovery::{self, Discovery};

/// Peers asked for others at a time.
const ASKED_PEERS: usize = 3;
/// Timeout of a question of `exchange/1`.
pub(in crate::discovery) const EXCHANGE: Duration = Duration::from_secs(5);

pub(super) async fn ask_peers(discovery: &Arc<Discovery>) -> Answer {
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
    let protocol = discovery::EXCHANGE.parse().expect("a protocol");
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
pub(in crate::discovery) fn take(
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
