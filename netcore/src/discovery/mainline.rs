//! A rendezvous in the BitTorrent Mainline DHT (BEP 5): nodes of one network announce themselves under a name that is
//! derived from the network's, and look who else does. Whoever knows the name sees the addresses, so this is off until
//! the operator turns it on.
//!
//! The infohash is the first 20 bytes of BLAKE3 over `polypeer/1 mainline`, a zero byte, the network's name, a zero byte,
//! and the day as u64 little-endian, Unix seconds divided by 86,400. It changes each day, so that the few Mainline nodes
//! near it, who could watch or refuse, do so for a day. Around midnight both days are used.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_core::Stream;
use mainline::async_dht::AsyncDht;
use mainline::{DEFAULT_BOOTSTRAP_NODES, Dht, Id};
use polypeer_ipc_protocol::seeds::Host;
use polypeer_ipc_protocol::settings::MainlineSettings;

use super::dns;

/// Addresses taken of one lookup: each is dialed to find out who is there, a few at a time.
const MAX_ADDRESSES: usize = 256;
/// For one lookup. Nodes that do not answer within 2 s are passed over; the rest takes half a dozen rounds.
const LOOKUP: Duration = Duration::from_secs(20);
/// For one announcement, which is a lookup and a message to each of the closest nodes.
const ANNOUNCE: Duration = Duration::from_secs(25);
/// The port of a bootstrap node that is named without one.
const BOOTSTRAP_PORT: u16 = 6881;
/// How long before and after midnight both days' names are used, seconds: clocks differ, and announcements last a while.
const OVERLAP: u64 = 3600;
const DAY: u64 = 86_400;

/// This node in the Mainline DHT. Its socket and its thread end with it.
#[derive(Debug)]
pub struct Rendezvous {
    dht: AsyncDht,
}

impl Rendezvous {
    /// Binds the socket, on `bind`, and enters the DHT. Fails in words.
    pub async fn start(
        settings: &MainlineSettings,
        bind: Ipv4Addr,
        resolver: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let bootstrap = bootstrap(&settings.bootstrap, resolver).await?;
        let port = settings.port;
        let unusable = |error: &dyn std::fmt::Display| {
            format!(
                "the UDP port {port} for Mainline cannot be used ({error}); set another in [discovery.mainline] port"
            )
        };
        // Tried first: the crate's thread may end with a busy port before the crate asks it how it went, which is a panic.
        std::net::UdpSocket::bind((bind, port)).map_err(|error| unusable(&error))?;
        // It waits for its thread, which binds the socket.
        let built = tokio::task::spawn_blocking(move || {
            Dht::builder().bootstrap(&bootstrap).bind_address(bind).port(port).build()
        });
        let dht = built.await.map_err(|_| unusable(&"its thread ended"))?.map_err(|error| unusable(&error))?;
        Ok(Self { dht: dht.as_async() })
    }

    /// Announces this node, at `port`, then looks who else announces itself in `network` at this time. In this order: of two
    /// nodes that come at the same moment at least one finds the other.
    pub async fn meet(&self, network: &str, port: Option<u16>, unix: u64) -> Result<Vec<SocketAddr>, String> {
        let mut found = BTreeSet::new();
        for infohash in infohashes(network, unix) {
            let id = Id::from_bytes(infohash).map_err(|error| error.to_string())?;
            if let Some(port) = port {
                match tokio::time::timeout(ANNOUNCE, self.dht.announce_peer(id, Some(port))).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(format!("the announcement in Mainline failed: {error}")),
                    Err(_) => return Err("nobody in Mainline takes the announcement".into()),
                }
            }
            // What comes in time counts; the lookup ends by itself.
            let _late = tokio::time::timeout(LOOKUP, self.look(id, &mut found)).await;
        }
        Ok(found.into_iter().map(SocketAddr::V4).collect())
    }

    async fn look(&self, id: Id, found: &mut BTreeSet<SocketAddrV4>) {
        let mut answers = pin!(self.dht.get_peers(id));
        while let Some(addresses) = next(&mut answers).await {
            let room = MAX_ADDRESSES.saturating_sub(found.len());
            found.extend(addresses.into_iter().filter(|address| address.port() != 0).take(room));
            if room == 0 {
                return;
            }
        }
    }
}

async fn next<S: Stream>(stream: &mut Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// Where to enter: the nodes named, by our own resolver, or the well-known ones.
async fn bootstrap(named: &[Host], resolver: Option<SocketAddr>) -> Result<Vec<SocketAddrV4>, String> {
    let well_known = || DEFAULT_BOOTSTRAP_NODES.iter().filter_map(|node| node.parse().ok()).collect();
    let mut hosts: Vec<Host> = if named.is_empty() { well_known() } else { named.to_vec() };
    for host in &mut hosts {
        host.port.get_or_insert(BOOTSTRAP_PORT);
    }
    let found = dns::resolve(&hosts, resolver).await;
    let v4 = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    };
    let addresses: Vec<SocketAddrV4> = found.addresses.into_iter().filter_map(v4).collect();
    if addresses.is_empty() {
        let why = found.problems.join("; ");
        return Err(format!(
            "no bootstrap node of Mainline has an IPv4 address{}{why}",
            if why.is_empty() { "" } else { ": " }
        ));
    }
    Ok(addresses)
}

/// The names that hold at this time, at most two.
fn infohashes(network: &str, unix: u64) -> Vec<[u8; 20]> {
    let mut days = vec![unix / DAY];
    for day in [unix.saturating_sub(OVERLAP) / DAY, unix.saturating_add(OVERLAP) / DAY] {
        if !days.contains(&day) {
            days.push(day);
        }
    }
    days.into_iter().map(|day| infohash(network, day)).collect()
}

fn infohash(network: &str, day: u64) -> [u8; 20] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"polypeer/1 mainline\0").update(network.as_bytes()).update(&[0]).update(&day.to_le_bytes());
    let mut infohash = [0; 20];
    hasher.finalize_xof().fill(&mut infohash);
    infohash
}

#[cfg(test)]
mod tests {
    use mainline::Testnet;

    use super::*;

    #[test]
    fn name_changes_with_the_day_and_the_network() {
        assert_eq!(infohash("main", 20_000), infohash("main", 20_000));
        assert_ne!(infohash("main", 20_000), infohash("main", 20_001));
        assert_ne!(infohash("main", 20_000), infohash("other", 20_000));
        let noon = 20_000 * DAY + DAY / 2;
        assert_eq!(infohashes("main", noon), [infohash("main", 20_000)]);
        assert_eq!(infohashes("main", noon + DAY / 2 - 1), [infohash("main", 20_000), infohash("main", 20_001)]);
        assert_eq!(infohashes("main", noon - DAY / 2 + 1), [infohash("main", 20_000), infohash("main", 19_999)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_nodes_meet_in_a_network_of_this_machine() {
        let testnet = tokio::task::spawn_blocking(|| Testnet::builder(5).build()).await.expect("built").expect("bound");
        let bootstrap: Vec<Host> = testnet.bootstrap.iter().map(|node| node.parse().expect("a host")).collect();
        let config = MainlineSettings { enabled: true, port: 0, bootstrap };
        let start = || Rendezvous::start(&config, Ipv4Addr::LOCALHOST, None);
        let (first, second) = (start().await.expect("started"), start().await.expect("started"));
        let noon = 20_000 * DAY + DAY / 2;
        let own = first.meet("main", Some(7470), noon).await.expect("announced");
        assert_eq!(own, [SocketAddr::from(([127, 0, 0, 1], 7470))], "it finds itself");
        let found = second.meet("main", None, noon).await.expect("looked up");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 7470))]);
        assert_eq!(second.meet("other", None, noon).await.expect("looked up"), []);
    }

    #[tokio::test]
    async fn port_in_use_and_nowhere_to_enter_are_told() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        let port = taken.local_addr().expect("an address").port();
        let bootstrap = vec!["127.0.0.1:1".parse().expect("a host")];
        let config = MainlineSettings { enabled: true, port, bootstrap };
        let error = Rendezvous::start(&config, Ipv4Addr::LOCALHOST, None).await.expect_err("taken");
        assert!(error.contains(&port.to_string()) && error.contains("[discovery.mainline] port"), "{error}");
        let config =
            MainlineSettings { enabled: true, port: 0, bootstrap: vec!["[::1]:6881".parse().expect("a host")] };
        let error = Rendezvous::start(&config, Ipv4Addr::LOCALHOST, None).await.expect_err("no IPv4");
        assert!(error.contains("IPv4"), "{error}");
    }
}
