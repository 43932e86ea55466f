//! Where a peer is, as far as it proved that.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use polypeer_engine::address::Zone;

use super::PeerLink;
use crate::transport::Route;

impl PeerLink {
    /// Where the peer's packets come from; unspecified while they come through others.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address().map_or(Ipv6Addr::UNSPECIFIED.into(), |address| address.ip())
    }

    /// The same with the port; none while they come through others.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.path.route() {
            Route::Direct(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
            Route::Tunnel { .. } => None,
        }
    }

    /// The peer's address if its IP is the one that it proved to be at.
    pub(crate) fn proved_address(&self) -> Option<SocketAddr> {
        self.address().filter(|now| now.ip() == self.proved)
    }

    /// The IP that the peer proved to be at, while its packets come from one of that zone: QUIC may have followed it since.
    pub(crate) fn proved_ip(&self) -> Option<IpAddr> {
        self.address().filter(|now| Zone::of(now.ip()) == Zone::of(self.proved)).map(|_| self.proved)
    }

    /// For judging what the peer may be told: where its packets come from, or nowhere in particular, which is told public
    /// addresses only, while they come from another zone than it proved to be in.
    pub(crate) fn judged_ip(&self) -> IpAddr {
        judged(self.proved, self.ip())
    }

    /// This node's end of the connection, where the system tells it: as the peer sees this node, unless something between
    /// them rewrites addresses.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        self.connection.local_ip().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    }
}

/// See [`PeerLink::judged_ip`].
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
