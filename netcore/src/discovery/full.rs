//! Questions to full nodes: a node that refused a link because it has too many is asked for others over a query
//! connection. Without that, a network whose seeds are full would accept nobody. The driver calls this when
//! [`crate::peers`] was refused; [`polypeer_engine::discovery::exchange`] decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use super::{Discovery, EXCHANGE, sources};
use crate::clock;

/// The answer of a full node: how many others it named, or why it failed.
pub(super) struct Answer {
    node: NodeId,
    named: Result<u64, String>,
}

/// The question for the node `full`, which `source` named and which refused a link at `address`, unless it may not be
/// asked now. The question ends by itself; its answer goes to [`answered`].
pub(super) fn refused(
    discovery: &Arc<Discovery>,
    full: NodeId,
    address: SocketAddr,
    source: Source,
) -> Option<impl Future<Output = Answer> + use<>> {
    if !discovery.state().settings.exchange {
        return None;
    }
    let mut state = discovery.state();
    let now = clock::now();
    let is_hungry = state.schedule.is_hungry();
    if !state.exchange.may_ask_full(now, &full, is_hungry) {
        return None;
    }
    let introduction = state.introduction(now, source, address);
    state.check.asked(now, full, address.ip(), introduction);
    drop(state);
    discovery.node.counters.full_nodes_asked.count();
    let discovery = Arc::clone(discovery);
    Some(async move { Answer { node: full, named: ask(&discovery, full, address).await } })
}

async fn ask(discovery: &Arc<Discovery>, full: NodeId, address: SocketAddr) -> Result<u64, String> {
    let protocol = EXCHANGE.parse().expect("a protocol");
    let question = Exchange::question(MAX_RECORDS);
    let reply = discovery.queries.ask(full, &[address], &protocol, question, Instant::now() + sources::EXCHANGE).await;
    let reply = reply.map_err(|failure| format!("{full}, which has no place for another peer: {failure}"))?;
    let (fresh, records) = sources::take(discovery, full, address.ip(), &reply)?;
    // Without a link, the DHT hears of these nodes from nobody else.
    for record in records {
        discovery.dht.add(record);
    }
    Ok(fresh)
}

/// Takes the answer of a full node.
pub(super) fn answered(discovery: &Discovery, answer: Answer) {
    let Answer { node: full, named } = answer;
    tracing::debug!(node = %full, ?named, "asked a full node for others");
    let mut state = discovery.state();
    state.exchange.full_answered(&full);
    match named {
        Ok(count) => state.schedule.named(clock::now(), Source::Exchange, count),
        Err(problem) => state.schedule.problem(Source::Exchange, Some(problem)),
    }
}
