//! The watermarks and the limits per host and subnet. The operator may set the watermarks; the other values are fixed
//! here.

use std::net::IpAddr;
use std::time::Duration;

use polypeer_ipc_protocol::settings::{HIGH, LOW, PeerSettings};

use crate::address::Zone;
use crate::rate::Rate;

/// Limits on connections and handshakes with one host and one subnet, for addresses of one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneLimits {
    /// Most connections with one host: an IPv4 address or an IPv6 /64. `None`: no limit, as in the next three.
    pub per_host: Option<usize>,
    /// Most connections with one subnet: /24 or /48.
    pub per_subnet: Option<usize>,
    /// Rate limit of handshakes from one host.
    pub host_rate: Option<Rate>,
    /// Rate limit of handshakes from one subnet.
    pub subnet_rate: Option<Rate>,
    /// Most handshakes in progress with one host.
    pub half_open: usize,
}

/// The watermarks and limits of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The low watermark: below this number of connections the manager dials.
    pub low: usize,
    /// The high watermark: above this number of connections the manager disconnects the least useful.
    pub high: usize,
    /// A connection younger than this is not disconnected to make room: it has had no time to be useful.
    pub grace: Duration,
    /// A connection unused for this long is disconnected while there are more than `low`.
    pub idle: Duration,
    /// Most dials in progress that the manager began itself.
    pub dials: usize,
    /// Most connections that the manager chooses in one public subnet: an attacker with one subnet gets no more of
    /// them.
    pub chosen_per_subnet: usize,
    /// Most handshakes in progress with all hosts together.
    pub half_open: usize,
    /// Limits for this machine: only on handshakes in progress.
    pub loopback: ZoneLimits,
    /// Limits for private networks, where one address may be that of a whole site behind a VPN.
    pub private: ZoneLimits,
    /// Limits for the internet, where one address may be that of an office or of a carrier's NAT.
    pub public: ZoneLimits,
}

impl Default for Marks {
    fn default() -> Self {
        Self::new(LOW, HIGH)
    }
}

impl Marks {
    /// The usual values with these watermarks. A high watermark below the low one is raised to it.
    pub fn new(low: usize, high: usize) -> Self {
        let rate = |burst, per_second| Some(Rate { burst, per_second });
        let unlimited =
            ZoneLimits { per_host: None, per_subnet: None, host_rate: None, subnet_rate: None, half_open: 192 };
        Self {
            low,
            high: high.max(low),
            grace: Duration::from_secs(60),
            idle: Duration::from_secs(20 * 60),
            dials: 8,
            chosen_per_subnet: 2,
            half_open: 256,
            loopback: unlimited,
            private: ZoneLimits { per_host: Some(64), host_rate: rate(200, 50), half_open: 64, ..unlimited },
            public: ZoneLimits {
                per_host: Some(8),
                per_subnet: Some(24),
                host_rate: rate(20, 1),
                subnet_rate: rate(60, 4),
                half_open: 16,
            },
        }
    }

    /// The values of a node with the operator's watermarks; `seed_only` is a node that only serves newcomers.
    pub fn configured(seed_only: bool, peers: &PeerSettings) -> Self {
        let usual = if seed_only { Self::for_newcomers() } else { Self::default() };
        let (low, high) = (peers.low.unwrap_or(usual.low), peers.high.unwrap_or(usual.high));
        Self { low, high: high.max(low), ..usual }
    }

    /// The values of a node that only serves newcomers: it has few peers of its own, accepts many for a short time, and
    /// disconnects them once they know other nodes.
    pub fn for_newcomers() -> Self {
        // 50 MiB at 100 KiB per connection. Half of what the connection table holds, so that the table never refuses
        // first.
        let usual = Self::new(8, 512);
        Self { grace: Duration::from_secs(10), idle: Duration::from_secs(30), ..usual }
    }

    /// Most connections that others have dialed: the rest of `high` is for those that this node chose, so that
    /// strangers cannot surround it.
    pub fn incoming(&self) -> usize {
        self.high - self.outgoing()
    }

    /// Connections that this node wants to have dialed itself, however many others have dialed it.
    pub fn outgoing(&self) -> usize {
        self.low / 2
    }

    /// The limits for the zone of `ip`.
    pub fn zone_limits(&self, ip: IpAddr) -> &ZoneLimits {
        match Zone::of(ip) {
            Zone::Loopback => &self.loopback,
            Zone::Private => &self.private,
            Zone::Public => &self.public,
        }
    }
}
