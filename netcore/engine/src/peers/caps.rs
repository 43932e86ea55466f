//! The number of connections with each host and subnet, and whether one more is within the limits. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::watermarks::ZoneLimits;
use crate::address::Subnet;

/// A host: an IPv4 address, or an IPv6 /64, within which its owner has any number of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    V4([u8; 4]),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl Host {
    /// The host of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => Self::V6(v6.octets()[..8].try_into().expect("eight of sixteen")),
        }
    }
}

/// The limit on links that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// Links with one host.
    Host,
    /// Links with one subnet.
    Subnet,
}

/// Connections by host and by subnet. Has at most as many entries as there are connections.
#[derive(Debug, Default)]
pub struct Counts {
    hosts: BTreeMap<Host, usize>,
    subnets: BTreeMap<Subnet, usize>,
}

impl Counts {
    /// Checks whether one more connection with `ip` is within the `limits` of its zone.
    pub fn check(&self, ip: IpAddr, limits: &ZoneLimits) -> Result<(), Crowded> {
        let full = |limit: Option<usize>, count: Option<&usize>| {
            limit.is_some_and(|limit| count.copied().unwrap_or_default() >= limit)
        };
        if full(limits.per_host, self.hosts.get(&Host::of(ip))) {
            return Err(Crowded::Host);
        }
        if full(limits.per_subnet, self.subnets.get(&Subnet::of(ip))) {
            return Err(Crowded::Subnet);
        }
        Ok(())
    }

    /// Counts a new connection with `ip`.
    pub fn add(&mut self, ip: IpAddr) {
        *self.hosts.entry(Host::of(ip)).or_default() += 1;
        *self.subnets.entry(Subnet::of(ip)).or_default() += 1;
    }

    /// Counts the end of a connection with `ip`.
    pub fn remove(&mut self, ip: IpAddr) {
        take(&mut self.hosts, Host::of(ip));
        take(&mut self.subnets, Subnet::of(ip));
    }

    /// The number of connections with the host of `ip`.
    pub fn host(&self, ip: IpAddr) -> usize {
        self.hosts.get(&Host::of(ip)).copied().unwrap_or_default()
    }

    /// The number of connections with the subnet of `ip`.
    pub fn subnet(&self, ip: IpAddr) -> usize {
        self.subnets.get(&Subnet::of(ip)).copied().unwrap_or_default()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.subnets.is_empty()
    }
}

fn take<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::watermarks::Marks;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn hosts_and_subnets_are_limited_on_the_internet_only() {
        let marks = Marks::default();
        let check = |counts: &Counts, text: &str| counts.check(ip(text), marks.zone_limits(ip(text)));
        let mut counts = Counts::default();
        for _ in 0..marks.public.per_host.expect("limited") {
            assert_eq!(check(&counts, "198.51.100.1"), Ok(()));
            counts.add(ip("198.51.100.1"));
        }
        assert_eq!(check(&counts, "198.51.100.1"), Err(Crowded::Host));
        assert_eq!(check(&counts, "::ffff:198.51.100.1"), Err(Crowded::Host), "the same in another form");
        while check(&counts, "198.51.100.9").is_ok() {
            counts.add(ip("198.51.100.9"));
        }
        for last in 10.. {
            match check(&counts, &format!("198.51.100.{last}")) {
                Ok(()) => counts.add(ip(&format!("198.51.100.{last}"))),
                Err(crowded) => {
                    assert_eq!(crowded, Crowded::Subnet);
                    break;
                }
            }
        }
        assert_eq!(counts.subnet(ip("198.51.100.0")), marks.public.per_subnet.expect("limited"));
        assert_eq!(check(&counts, "198.51.101.1"), Ok(()));
        for _ in 0..1000 {
            assert_eq!(check(&counts, "127.0.0.1"), Ok(()));
            counts.add(ip("127.0.0.1"));
        }
    }

    #[test]
    fn addresses_of_one_network_segment_are_one_host_and_what_is_gone_leaves_nothing() {
        let mut counts = Counts::default();
        let (a, b) = (ip("2001:db8:0:1::1"), ip("2001:db8:0:1:ffff::2"));
        counts.add(a);
        counts.add(b);
        assert_eq!((counts.host(a), counts.subnet(ip("2001:db8:0:2::1"))), (2, 2));
        counts.remove(a);
        counts.remove(b);
        counts.remove(b);
        assert!(counts.is_empty());
    }
}
