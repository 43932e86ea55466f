//! Nodes that have no place for this one: asked for others over a query connection. Without that, a network whose seeds
//! are full would take nobody in. The driver calls this when [`crate::peers`] was refused;
//! [`polypeer_engine::discovery::exchange`] decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use super::{Discovery, EXCHANGE, sources};
use crate::clock;

/// What came of asking a full node: how many others it named, or what went wrong.
pub(super) struct Answer {
    node: NodeId,
    named: Result<u64, String>,
}

/// `full`, which `source` named, refused a link at `address`. The question to ask it, if any; it ends by itself, and then
/// goes to [`answered`].
pub(super) fn refused(
    discovery: &Arc<Discovery>,
    full: NodeId,
    address: SocketAddr,
    source: Source,
) -> Option<impl Future<Output = Answer> + use<>> {
    if !discovery.settings.exchange {
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
    // Without a link nobody else tells the hash table of anybody.
    for record in records {
        discovery.dht.add(record);
    }
    Ok(fresh)
}

/// Notes what a full node said.
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
