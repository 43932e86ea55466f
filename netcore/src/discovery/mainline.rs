//! Rendezvous in the BitTorrent Mainline DHT (BEP 5): nodes of one network announce themselves under an infohash that
//! is derived from the network's name, and look up the others. Everybody who knows the name can see the addresses, so
//! this is off until the operator turns it on.
//!
//! The infohash is the first 20 bytes of BLAKE3 over `polypeer/1 mainline`, a zero byte, the network's name, a zero
//! byte, and the day as u64 little-endian, Unix seconds divided by 86,400. It changes each day, so that the few
//! Mainline nodes near it can watch or refuse for one day only. Around midnight both days' infohashes are used.

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

/// Most addresses used of one lookup. They are dialed a few at a time, to see which node answers.
const MAX_ADDRESSES: usize = 256;
/// Time limit of a lookup: some six rounds, in which nodes that do not answer within 2 s are skipped.
const LOOKUP: Duration = Duration::from_secs(20);
/// Time limit of an announcement: a lookup, and a message to each of the closest nodes.
const ANNOUNCE: Duration = Duration::from_secs(25);
/// Default port of a bootstrap node.
const BOOTSTRAP_PORT: u16 = 6881;
/// Seconds before and after midnight in which both days' infohashes are used: clocks differ, and announcements last
/// half an hour.
const OVERLAP: u64 = 3600;
const DAY: u64 = 86_400;

/// A client of the Mainline DHT. Its socket is closed and its thread ended when it is dropped.
#[derive(Debug)]
pub struct Rendezvous {
    dht: AsyncDht,
}

impl Rendezvous {
    /// Binds the socket to `bind` and joins the DHT. Errors are texts for people.
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
        // Tested first: with a busy port, the crate's thread may end before the crate asks for its result, and that
        // panics.
        std::net::UdpSocket::bind((bind, port)).map_err(|error| unusable(&error))?;
        // It waits for its thread, which binds the socket.
        let built = tokio::task::spawn_blocking(move || {
            Dht::builder().bootstrap(&bootstrap).bind_address(bind).port(port).build()
        });
        let dht = built.await.map_err(|_| unusable(&"its thread ended"))?.map_err(|error| unusable(&error))?;
        Ok(Self { dht: dht.as_async() })
    }

    /// Announces this node with `port`, then looks up the other nodes of `network`. Because of this order, at least one
    /// of two nodes that start at the same moment finds the other.
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
            // Results within the time limit are used.
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

/// Addresses of the bootstrap nodes: the configured ones, by our own resolver, or the well-known ones.
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

/// The infohashes in use at this time, at most two.
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
