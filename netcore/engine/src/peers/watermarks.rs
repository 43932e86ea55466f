//! The numbers peers are managed by: how many, from where, how fast. Operators set the water marks; the rest is here.

use std::net::IpAddr;
use std::time::Duration;

use polypeer_ipc_protocol::settings::{HIGH, LOW, PeerSettings};

use crate::address::Zone;
use crate::rate::Rate;

/// How many connections and handshakes may come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Connections with one host: an IPv4 address or an IPv6 /64. `None`: no limit.
    pub per_host: Option<usize>,
    /// Connections with one subnet: /24 or /48.
    pub per_subnet: Option<usize>,
    /// Handshakes of one host.
    pub host_rate: Option<Rate>,
    /// Handshakes of one subnet.
    pub subnet_rate: Option<Rate>,
    /// Handshakes of one host under way at once.
    pub half_open: usize,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// Below this many connections more are dialed.
    pub low: usize,
    /// Above this many the least useful are let go.
    pub high: usize,
    /// A connection younger than this is not let go: it has had no time to be of use.
    pub grace: Duration,
    /// A connection that nobody used for so long is let go while there are more than `low`.
    pub idle: Duration,
    /// Dials under way that nobody asked for.
    pub dials: usize,
    /// Connections dialed by ourselves into one public subnet: an attacker with one subnet gets so many of our choices.
    pub chosen_per_subnet: usize,
    /// Handshakes of all strangers under way at once.
    pub half_open: usize,
    /// Limits for this machine: none but the last.
    pub loopback: Place,
    /// Limits for private networks, where one address may be a whole site behind a VPN.
    pub private: Place,
    /// Limits for the internet, where one address may be an office or a carrier's NAT.
    pub public: Place,
}

impl Default for Marks {
    fn default() -> Self {
        Self::new(LOW, HIGH)
    }
}

impl Marks {
    /// The usual numbers around these water marks. A high mark below the low one is raised to it.
    pub fn new(low: usize, high: usize) -> Self {
        let rate = |burst, per_second| Some(Rate { burst, per_second });
        let unlimited = Place { per_host: None, per_subnet: None, host_rate: None, subnet_rate: None, half_open: 192 };
        Self {
            low,
            high: high.max(low),
            grace: Duration::from_secs(60),
            idle: Duration::from_secs(20 * 60),
            dials: 8,
            chosen_per_subnet: 2,
            half_open: 256,
            loopback: unlimited,
            private: Place { per_host: Some(64), host_rate: rate(200, 50), half_open: 64, ..unlimited },
            public: Place {
                per_host: Some(8),
                per_subnet: Some(24),
                host_rate: rate(20, 1),
                subnet_rate: rate(60, 4),
                half_open: 16,
            },
        }
    }

    /// The numbers of a node that serves newcomers or not, with the watermarks that the operator set.
    pub fn configured(seed_only: bool, peers: &PeerSettings) -> Self {
        let usual = if seed_only { Self::for_newcomers() } else { Self::default() };
        let (low, high) = (peers.low.unwrap_or(usual.low), peers.high.unwrap_or(usual.high));
        Self { low, high: high.max(low), ..usual }
    }

    /// The numbers of a node that serves newcomers: it has few peers of its own, takes in many for a short time, and lets
    /// them go when they have heard of others.
    pub fn for_newcomers() -> Self {
        // At 100 KiB a connection 50 MiB, and half of what the table holds, so that it never refuses in our stead.
        let usual = Self::new(8, 512);
        Self { grace: Duration::from_secs(10), idle: Duration::from_secs(30), ..usual }
    }

    /// Connections that others may have made: the rest of the high mark is for those this node chose, so that strangers
    /// cannot surround it.
    pub fn incoming(&self) -> usize {
        self.high - self.outgoing()
    }

    /// Connections this node wants to have chosen itself, however many others have made.
    pub fn outgoing(&self) -> usize {
        self.low / 2
    }

    /// The limits where `ip` is.
    pub fn place(&self, ip: IpAddr) -> &Place {
        match Zone::of(ip) {
            Zone::Loopback => &self.loopback,
            Zone::Private => &self.private,
            Zone::Public => &self.public,
        }
    }
}
