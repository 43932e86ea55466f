//! The largest UDP payload worth trying to an address: what the first link of the route carries, as the system knows.
//! MTU discovery searches up to it. A larger bound would cost lost probes on each ordinary path; a smaller one gives up
//! what loopback and jumbo networks carry.

use std::net::SocketAddr;

/// Largest payload ever sent, bytes. quinn sends up to ten packets at once, and together they must stay within the
/// 65,507 bytes of one UDP send, with their envelopes if the path is a tunnel.
pub(super) const LARGEST: u16 = 6_500;
/// Payload of an Ethernet packet over IPv6, bytes: the bound where the system says nothing, and the least one, since a
/// connection may move from a tunnel to a path that carries more.
const USUAL: u16 = 1_452;

/// The largest payload to try to `to`, bytes: from 1,452 to [`LARGEST`].
pub(super) fn payload(to: SocketAddr) -> u16 {
    let headers = if to.is_ipv4() { 28 } else { 48 };
    match mtu(to) {
        Some(mtu) => u16::try_from(mtu.saturating_sub(headers)).unwrap_or(LARGEST).clamp(USUAL, LARGEST),
        None if to.ip().is_loopback() => LARGEST,
        None => USUAL,
    }
}

/// The MTU of the route to `to`, bytes; `None` if there is no route, or the system does not say.
#[cfg(target_os = "linux")]
fn mtu(to: SocketAddr) -> Option<u32> {
    use nix::sys::socket::{getsockopt, sockopt::IpMtu};
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    // Connecting a UDP socket looks the route up and sends nothing.
    let mtu = if to.is_ipv4() {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(to).ok()?;
        getsockopt(&socket, IpMtu)
    } else {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(to).ok()?;
        getsockopt(&socket, ipv6::Ipv6Mtu)
    };
    u32::try_from(mtu.ok()?).ok()
}

#[cfg(not(target_os = "linux"))]
fn mtu(_: SocketAddr) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "nix has this option for IPv4 only; its macro makes the same of the one for IPv6")]
mod ipv6 {
    use nix::libc::{self, IPPROTO_IPV6, IPV6_MTU};
    use nix::{getsockopt_impl, sockopt_impl};

    sockopt_impl!(Ipv6Mtu, GetOnly, IPPROTO_IPV6, IPV6_MTU, i32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload_to(address: &str) -> u16 {
        payload(address.parse().expect("an address"))
    }

    #[test]
    fn loopback_carries_the_largest_packets() {
        assert_eq!(payload_to("127.0.0.1:9"), LARGEST);
    }

    #[test]
    fn an_address_without_a_route_gets_the_usual_bound() {
        // A link-local address without an interface has no route.
        assert_eq!(payload_to("[fe80::1]:9"), USUAL);
    }

    #[test]
    fn ten_packets_in_envelopes_fit_in_one_send() {
        assert!(10 * (usize::from(LARGEST) + super::super::envelope::OVERHEAD) <= 65_507);
    }
}
