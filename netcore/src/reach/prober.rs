//! Probes: it dials peers back that ask for it, with one handshake per port, from a separate socket that the peer does
//! not know, and only at the IP that the peer's packets come from. [`ProbeLimits`] bounds the cost.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polypeer_engine::reach::probe_limits::ProbeLimits;
use polypeer_engine::reach::wire::{Probed, Request};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use tokio::task::JoinSet;

use super::ReachHandle;
use crate::node::Node;

/// Timeout of one handshake: a round trip with two lost packets.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// The limits on probes that this node makes for others.
#[derive(Debug, Default)]
pub(super) struct Prober(Mutex<ProbeLimits>);

impl Prober {
    fn limits(&self) -> MutexGuard<'_, ProbeLimits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe in progress, until it is dropped.
struct Probing<'a>(&'a Prober, IpAddr);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.limits().leave(self.1);
    }
}

/// Answers a question of `probe/1` by `asker`, whose packets come from `from`. Fails with `peer misbehaved` if it is
/// malformed, `refused` without a direct address, and `busy` beyond the limits.
pub(crate) async fn answer(
    node: &Arc<Node>,
    reach: &ReachHandle,
    asker: NodeId,
    from: Option<SocketAddr>,
    payload: &Bytes,
) -> Result<Vec<u8>, Failure> {
    let request = Request::decode(payload)
        .map_err(|error| Failure::new(ErrorCode::PeerMisbehaved, format!("probe/1: {error}")))?;
    let Some(observed) = from else {
        return Err(Failure::new(ErrorCode::Refused, "your packets are relayed: there is no address to dial"));
    };
    let prober = &reach.prober;
    if let Err(refused) = prober.limits().enter(Instant::now(), asker, observed.ip()) {
        node.counters.probes_refused_busy.count();
        return Err(Failure::new(ErrorCode::Busy, refused.to_string()));
    }
    let _probing = Probing(prober, observed.ip());
    let mut dials = JoinSet::new();
    let mut ports = request.ports;
    ports.push(observed.port());
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let node = Arc::clone(node);
        dials.spawn(async move {
            let peers = node.peers().ok()?;
            let address = SocketAddr::new(observed.ip(), port);
            match tokio::time::timeout(HANDSHAKE, peers.transport().probe(address, asker)).await {
                Ok(Ok(())) => Some(port),
                Ok(Err(error)) => {
                    tracing::debug!(%asker, %address, %error, "a probe failed");
                    None
                }
                Err(_) => None,
            }
        });
    }
    let mut reached: Vec<u16> = dials.join_all().await.into_iter().flatten().collect();
    reached.sort_unstable();
    Ok(Probed { observed, reached }.encode())
}
