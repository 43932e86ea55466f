//! Addresses of simulated nodes. All are public; as on the internet, some share a /24 and some clients share an
//! address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// First bytes of /8 blocks that are public throughout.
const BLOCKS: [u8; 24] =
    [5, 23, 31, 37, 46, 62, 77, 79, 80, 82, 85, 87, 89, 91, 93, 95, 109, 121, 126, 133, 151, 176, 178, 217];
/// Share of nodes in a /24 that already has one: providers' blocks.
const SHARED_SUBNET: f64 = 0.2;
/// Share of clients with the same address as another client: carrier-grade NAT.
const SHARED_ADDRESS: f64 = 0.1;
/// Port of nodes that can be dialed.
pub const PORT: u16 = 7470;

/// Assigns addresses to nodes.
#[derive(Debug)]
pub struct Ips {
    rng: StdRng,
    given: Vec<Ipv4Addr>,
    clients: Vec<Ipv4Addr>,
}

impl Ips {
    /// Makes an assignment that follows from `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { rng: StdRng::from_seed(seed), given: Vec::new(), clients: Vec::new() }
    }

    /// Assigns an address to a node that can be dialed, or to a client behind NAT.
    pub fn next(&mut self, reachable: bool) -> SocketAddr {
        if !reachable && !self.clients.is_empty() && self.rng.random_bool(SHARED_ADDRESS) {
            let ip = self.clients[self.rng.random_range(0..self.clients.len())];
            return SocketAddr::new(IpAddr::V4(ip), self.rng.random_range(20_000..60_000));
        }
        let host = self.rng.random_range(1..=254);
        let [a, b, c] = if !self.given.is_empty() && self.rng.random_bool(SHARED_SUBNET) {
            let [a, b, c, _] = self.given[self.rng.random_range(0..self.given.len())].octets();
            [a, b, c]
        } else {
            [BLOCKS[self.rng.random_range(0..BLOCKS.len())], self.rng.random(), self.rng.random()]
        };
        let ip = Ipv4Addr::new(a, b, c, host);
        if reachable {
            self.given.push(ip)
        } else {
            self.clients.push(ip)
        }
        SocketAddr::new(IpAddr::V4(ip), if reachable { PORT } else { self.rng.random_range(20_000..60_000) })
    }

    /// The address of an attacker who holds `subnets` neighbouring /24 with all their addresses and ports.
    pub fn attacker(subnets: u8, number: u32) -> SocketAddr {
        let subnet = (number % u32::from(subnets)) as u8;
        let host = (number / u32::from(subnets) % 254) as u8 + 1;
        let port = PORT + (number / u32::from(subnets) / 254) as u16;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(45, 9, subnet, host)), port)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use polypeer_engine::address::{Subnet, Zone};

    use super::*;

    #[test]
    fn all_are_public_and_some_share_a_subnet() {
        let mut ips = Ips::new([3; 32]);
        let given: Vec<SocketAddr> = (0..1000).map(|number| ips.next(number % 3 != 0)).collect();
        assert!(given.iter().all(|address| Zone::of(address.ip()) == Zone::Public));
        let subnets: BTreeSet<Subnet> = given.iter().map(|address| Subnet::of(address.ip())).collect();
        assert!((700..900).contains(&subnets.len()), "{} subnets", subnets.len());
        let attackers: BTreeSet<SocketAddr> = (0..2000).map(|number| Ips::attacker(2, number)).collect();
        let subnets: BTreeSet<Subnet> = attackers.iter().map(|address| Subnet::of(address.ip())).collect();
        assert_eq!((attackers.len(), subnets.len()), (2000, 2));
    }
}
