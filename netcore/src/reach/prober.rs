//! Dials peers back that ask for it: from a socket of its own that they never heard of, one handshake each, and only at
//! the IP their packets come from. What that costs is limited for each asker and in all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use tokio::task::JoinSet;

use super::wire::{Probed, Request};
use crate::node::Node;
use crate::rate::{Bucket, Rate};

/// For one handshake: a round trip, with two lost packets.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Askers served at once; each has up to four sockets' worth of handshakes.
const MAX_PROBING: usize = 16;
/// Askers served in all: a seed that fifty nodes join at once serves them within seconds, and sends at most 120 packets
/// a second for it.
const ALL: Rate = Rate { burst: 32, per_second: 8 };
/// Probes of one asker within [`WINDOW`]: a new node, with both families, a change of address and some bad luck.
const EACH: u32 = 8;
/// Over which they are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Askers remembered.
const MAX_ASKERS: usize = 4096;

/// Why somebody is not dialed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("too many probes are under way; ask another, or again in a second")]
    Full,
    #[error("more than {EACH} probes within {} s; ask another", WINDOW.as_secs())]
    TooOften,
}

/// Whom to serve. Pure.
#[derive(Debug)]
struct Limits {
    probing: usize,
    all: Bucket,
    askers: HashMap<NodeId, (Instant, u32)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { probing: 0, all: Bucket::new(ALL), askers: HashMap::new() }
    }
}

impl Limits {
    fn enter(&mut self, now: Instant, asker: NodeId) -> Result<(), Refused> {
        let in_window = |since: Instant| now.saturating_duration_since(since) < WINDOW;
        if self.askers.len() >= MAX_ASKERS && !self.askers.contains_key(&asker) {
            self.askers.retain(|_, (since, _)| in_window(*since));
        }
        let known = self.askers.get(&asker).filter(|(since, _)| in_window(*since)).copied();
        let (since, count) = known.unwrap_or((now, 0));
        if count >= EACH {
            return Err(Refused::TooOften);
        }
        if self.probing >= MAX_PROBING || self.askers.len() >= MAX_ASKERS || !self.all.take(now) {
            return Err(Refused::Full);
        }
        self.askers.insert(asker, (since, count + 1));
        self.probing += 1;
        Ok(())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Prober(Mutex<Limits>);

impl Prober {
    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Probing<'a>(&'a Prober);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.limits().probing -= 1;
    }
}

/// Answers a question of `probe/1`, of a peer whose packets come from `from`.
pub(crate) async fn answer(
    node: &Arc<Node>,
    asker: NodeId,
    from: Option<SocketAddr>,
    payload: &Bytes,
) -> Result<Vec<u8>, Failure> {
    let request = Request::decode(payload)
        .map_err(|error| Failure::new(ErrorCode::PeerMisbehaved, format!("probe/1: {error}")))?;
    let Some(observed) = from else {
        return Err(Failure::new(ErrorCode::Refused, "your packets come through others: there is no address to dial"));
    };
    let prober = &node.services().reach.prober;
    if let Err(refused) = prober.limits().enter(Instant::now(), asker) {
        node.counters.probes_refused_busy.count();
        return Err(Failure::new(ErrorCode::Busy, refused.to_string()));
    }
    let _probing = Probing(prober);
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
                    tracing::debug!(%asker, %address, %error, "a probe did not get through");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(number: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(id)
    }

    #[test]
    fn an_asker_gets_so_many_probes_in_a_while_and_others_theirs() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let probe = |limits: &mut Limits, at, number| {
            let entered = limits.enter(at, asker(number));
            limits.probing = 0;
            entered
        };
        for second in 0..EACH {
            assert_eq!(probe(&mut limits, start + Duration::from_secs(second.into()), 1), Ok(()));
        }
        let then = start + Duration::from_secs(30);
        assert_eq!(probe(&mut limits, then, 1), Err(Refused::TooOften));
        assert_eq!(probe(&mut limits, then, 2), Ok(()));
        assert_eq!(probe(&mut limits, start + WINDOW, 1), Ok(()));
    }

    #[test]
    fn there_are_so_many_at_once_and_a_second() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        for number in 0..MAX_PROBING as u32 {
            assert_eq!(limits.enter(now, asker(number)), Ok(()));
        }
        assert_eq!(limits.enter(now, asker(99)), Err(Refused::Full));
        limits.probing = 0;
        let mut served = MAX_PROBING as u32;
        while limits.enter(now, asker(1000 + served)).is_ok() {
            limits.probing = 0;
            served += 1;
        }
        assert_eq!(served, ALL.burst);
    }

    #[test]
    fn askers_remembered_are_bounded() {
        let mut limits = Limits::default();
        let mut now = Instant::now();
        for number in 0..2 * MAX_ASKERS as u32 {
            now += Duration::from_millis(125);
            let _ = limits.enter(now, asker(number));
            limits.probing = 0;
            assert!(limits.askers.len() <= MAX_ASKERS);
        }
        assert_eq!(limits.enter(now + WINDOW, asker(0)), Ok(()), "the old ones make room");
    }
}
