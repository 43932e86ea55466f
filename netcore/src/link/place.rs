//! A peer's address, and how far the peer has proved it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use polypeer_engine::address::Zone;

use super::PeerLink;
use crate::transport::Route;

impl PeerLink {
    /// The IP that the peer's packets come from; unspecified while they come through a relay.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address().map_or(Ipv6Addr::UNSPECIFIED.into(), |address| address.ip())
    }

    /// The address that the peer's packets come from; `None` while they come through a relay.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.path.route() {
            Route::Direct(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
            Route::Tunnel { .. } => None,
        }
    }

    /// The peer's address, if its IP is the one that the handshake proved.
    pub(crate) fn proved_address(&self) -> Option<SocketAddr> {
        self.address().filter(|now| now.ip() == self.proved)
    }

    /// The IP that the handshake proved, while the peer's packets come from the same zone. QUIC may have followed the
    /// peer to another address since.
    pub(crate) fn proved_ip(&self) -> Option<IpAddr> {
        self.address().filter(|now| Zone::of(now.ip()) == Zone::of(self.proved)).map(|_| self.proved)
    }

    /// The IP by which to decide what the peer may be told: the one that its packets come from. It is unspecified, so
    /// that the peer is told public addresses only, while the packets come from another zone than the proved IP.
    pub(crate) fn judged_ip(&self) -> IpAddr {
        judged(self.proved, self.ip())
    }

    /// This node's IP on the connection, if the system reports it. The peer sees this node at that IP, unless a NAT or
    /// proxy between them rewrites addresses.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        self.connection.local_ip().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    }
}

/// Implements [`PeerLink::judged_ip`].
fn judged(proved: IpAddr, now: IpAddr) -> IpAddr {
    if Zone::of(proved) == Zone::of(now) { now } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_taken_up_later_opens_no_zone() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (home, lan) = (ip("203.0.113.5"), ip("192.168.1.1"));
        assert_eq!(judged(home, ip("198.51.100.9")), ip("198.51.100.9"));
        for spoofed in [lan, ip("127.0.0.1")] {
            assert_eq!(Zone::of(judged(home, spoofed)), Zone::Public);
        }
        assert_eq!(judged(lan, lan), lan);
    }
}
