//! Query connections from other nodes: admits or refuses each, and answers its questions until it is old or unused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::Zone;
use polypeer_engine::peers::caps::Counts;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use quinn::{Connection, VarInt};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::outbound::misbehaved;
use super::{Handlers, Queries, Question};
use crate::limits::{
    ANSWER_TIME, QUERY_CONNECTIONS_IN, QUERY_CONNECTIONS_PER_HOST, QUERY_CONNECTIONS_PER_PRIVATE_HOST,
    QUERY_CONNECTIONS_PER_SUBNET, QUERY_IDLE, QUERY_LIFETIME, QUERY_STREAMS,
};
use crate::transport::{self, Route};
use crate::wire::{Broken, Halves, Payloads, StreamKind};

/// Why a query connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Crowded {
    #[error("{QUERY_CONNECTIONS_IN} query connections stand; try again in a moment")]
    Full,
    #[error("too many query connections from this address; use those that stand")]
    Host,
    #[error("too many query connections from this network")]
    Subnet,
    #[error("a query connection with this node stands; use that")]
    Node,
}

/// The standing query connections from other nodes, counted by node, host and subnet. Pure.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Connections of each node, at most two: a new one, and an old one whose end has not been noticed here yet.
    nodes: std::collections::BTreeMap<NodeId, usize>,
    total: usize,
    counts: Counts,
}

impl Inbound {
    pub(super) fn enter(&mut self, node: NodeId, ip: IpAddr) -> Result<(), Crowded> {
        let (per_host, per_subnet) = match Zone::of(ip) {
            Zone::Public => (QUERY_CONNECTIONS_PER_HOST, QUERY_CONNECTIONS_PER_SUBNET),
            Zone::Private => (QUERY_CONNECTIONS_PER_PRIVATE_HOST, usize::MAX),
            Zone::Loopback => (usize::MAX, usize::MAX),
        };
        if self.total >= QUERY_CONNECTIONS_IN {
            return Err(Crowded::Full);
        }
        if self.nodes.get(&node).is_some_and(|count| *count >= 2) {
            return Err(Crowded::Node);
        }
        if self.counts.host(ip) >= per_host {
            return Err(Crowded::Host);
        }
        if self.counts.subnet(ip) >= per_subnet {
            return Err(Crowded::Subnet);
        }
        self.total += 1;
        *self.nodes.entry(node).or_default() += 1;
        self.counts.add(ip);
        Ok(())
    }

    pub(super) fn leave(&mut self, node: &NodeId, ip: IpAddr) {
        self.total -= 1;
        self.counts.remove(ip);
        if let Some(count) = self.nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(node);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.total
    }
}

/// An admitted connection; leaves the counts when dropped.
struct Entered {
    queries: Arc<Queries>,
    peer: NodeId,
    ip: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.queries.inbound().leave(&self.peer, self.ip);
    }
}

/// Serves a query connection to its end. The caller has checked that the peer is not blocked.
pub(crate) async fn run(handlers: Arc<Handlers>, connection: transport::Connection) {
    let queries = handlers.queries();
    let node = &queries.node;
    let transport::Connection { node: peer, quic: connection, path, .. } = connection;
    let from = match path.route() {
        Route::Direct(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
        Route::Tunnel { .. } => None,
    };
    let ip = ip_of(from);
    let entered = queries.inbound().enter(peer, ip);
    if let Err(crowded) = entered {
        node.counters.query_connections_refused.count();
        tracing::debug!(%peer, %ip, %crowded, "query connection refused");
        return connection.close(VarInt::from_u32(ErrorCode::Busy.number()), crowded.to_string().as_bytes());
    }
    let _entered = Entered { queries: Arc::clone(queries), peer, ip };
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(QUERY_STREAMS));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(0));
    let payloads = Arc::new(queries.links.payloads());
    let mut tasks = JoinSet::new();
    let old = Instant::now() + QUERY_LIFETIME;
    let mut used = Instant::now();
    loop {
        let until = if tasks.is_empty() { old.min(used + QUERY_IDLE) } else { old };
        tokio::select! {
            accepted = connection.accept_bi() => {
                let Ok((send, recv)) = accepted else { return };
                let (handlers, connection, payloads) = (Arc::clone(&handlers), connection.clone(), Arc::clone(&payloads));
                tasks.spawn(async move {
                    let mut halves = Halves::new(send, recv);
                    if let Err(Broken::Rule(reason)) = question(&handlers, peer, from, &mut halves, &payloads).await {
                        misbehaved(&handlers.queries().node, peer, &connection, &reason);
                    }
                });
            }
            Some(_) = tasks.join_next() => {}
            // Nothing uses datagrams here. They are read because QUIC would hold them for as long as the connection
            // stands.
            Ok(_) = connection.read_datagram() => {
                node.counters.query_datagrams_dropped.count();
                continue;
            }
            () = sleep_until(until.into()) => break,
        }
        used = Instant::now();
    }
    // Pending questions are still answered.
    let _ = timeout(ANSWER_TIME, async { while tasks.join_next().await.is_some() {} }).await;
    close(&connection);
}

/// The IP of a peer; unspecified if its packets come through a relay.
fn ip_of(from: Option<SocketAddr>) -> IpAddr {
    from.map_or(IpAddr::from([0; 16]), |address| address.ip())
}

/// Timeout for the header and payload of one question.
const PAYLOAD: Duration = Duration::from_secs(10);

fn close(connection: &Connection) {
    connection.close(VarInt::from_u32(ErrorCode::Complete.number()), b"over");
}

async fn question(
    handlers: &Handlers,
    peer: NodeId,
    from: Option<SocketAddr>,
    halves: &mut Halves,
    payloads: &Payloads,
) -> Result<(), Broken> {
    let node = &handlers.queries().node;
    let read = async {
        let header = halves.header().await?;
        let header =
            header.filter(|header| header.kind == StreamKind::Internal && !handlers.carries_frames(&header.protocol));
        let Some(header) = header else { return Ok(None) };
        Ok(Some((header.protocol, halves.read_payload(MAX_PAYLOAD, payloads).await?)))
    };
    let (protocol, payload) = match timeout(PAYLOAD, read).await {
        Ok(Ok(Some((protocol, Some(payload))))) => (protocol, payload),
        Ok(Ok(Some((_, None)))) => {
            node.counters.peer_payloads_refused.count();
            let text = "too many questions are on their way already; ask again in a moment";
            halves.refuse(node, &Failure::new(ErrorCode::Busy, text)).await;
            return Ok(());
        }
        Ok(Ok(None)) => {
            let text = "a query connection carries questions between netcores only";
            halves.refuse(node, &Failure::new(ErrorCode::Unsupported, text)).await;
            return Ok(());
        }
        Ok(Err(broken)) => return Err(broken),
        Err(_) => {
            node.counters.peer_headers_late.count();
            return Ok(());
        }
    };
    let question = Question { node: peer, ip: ip_of(from), from, payload };
    match handlers.answer(&protocol, question).await {
        Ok(reply) => {
            halves.reply(node, &reply).await;
        }
        Err(failure) if failure.is(ErrorCode::PeerMisbehaved) => return Err(Broken::Rule(failure.message)),
        Err(failure) => halves.refuse(node, &failure).await,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of `count` nodes at `ip` are admitted.
    fn entered(inbound: &mut Inbound, ip: IpAddr, first: u32, count: u32) -> usize {
        (first..first + count).filter(|number| inbound.enter(node(*number), ip).is_ok()).count()
    }

    #[test]
    fn hosts_and_networks_of_the_internet_have_few_places_and_this_machine_all() {
        let mut inbound = Inbound::default();
        assert_eq!(entered(&mut inbound, ip("203.0.114.1"), 0, 100), QUERY_CONNECTIONS_PER_HOST);
        assert_eq!(inbound.enter(node(1000), ip("203.0.114.1")), Err(Crowded::Host));
        let mut subnet = QUERY_CONNECTIONS_PER_HOST;
        for last in 2..100 {
            subnet += entered(&mut inbound, IpAddr::from([203, 0, 114, last]), 1000 * u32::from(last), 8);
        }
        assert_eq!(subnet, QUERY_CONNECTIONS_PER_SUBNET);
        assert_eq!(inbound.enter(node(1), ip("203.0.114.200")), Err(Crowded::Subnet));
        let mut inbound = Inbound::default();
        assert_eq!(entered(&mut inbound, ip("127.0.0.1"), 0, 1000), QUERY_CONNECTIONS_IN);
        assert_eq!(inbound.enter(node(2000), ip("127.0.0.1")), Err(Crowded::Full));
    }

    #[test]
    fn a_node_has_two_at_most_and_places_come_back() {
        let mut inbound = Inbound::default();
        let home = ip("127.0.0.1");
        assert_eq!((inbound.enter(node(1), home), inbound.enter(node(1), home)), (Ok(()), Ok(())));
        assert_eq!(inbound.enter(node(1), home), Err(Crowded::Node));
        inbound.leave(&node(1), home);
        assert_eq!(inbound.enter(node(1), home), Ok(()));
        inbound.leave(&node(1), home);
        inbound.leave(&node(1), home);
        assert!(inbound.nodes.is_empty() && inbound.counts.is_empty() && inbound.len() == 0);
    }
}
