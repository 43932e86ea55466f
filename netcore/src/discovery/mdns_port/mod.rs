//! The UDP port of multicast DNS: whether this node can share it with the other programs that use it. mdns-sd does not
//! report that it cannot.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

#[cfg(unix)]
use unix::share;
#[cfg(windows)]
use windows::share;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The families among `bound` in which another program has `port` for itself.
pub(super) fn taken(bound: &[SocketAddr], port: u16) -> Vec<Family> {
    let used = |family: &Family| bound.iter().any(|address| address.is_ipv4() == (*family == Family::V4));
    // A family that this machine does not have is no reason to complain.
    let is_taken = |family: &Family| bind(*family, port).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    [Family::V4, Family::V6].into_iter().filter(used).filter(is_taken).collect()
}

/// Binds a socket as mdns-sd does, for a moment.
fn bind(family: Family, port: u16) -> io::Result<()> {
    let (domain, address) = match family {
        Family::V4 => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Family::V6 => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    share(&socket)?;
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn port_of_a_program_that_does_not_share_it_is_taken_until_that_program_ends() {
        let bound = ["127.0.0.1:1".parse().unwrap()];
        let greedy = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = greedy.local_addr().unwrap().port();
        assert_eq!(taken(&bound, port), [Family::V4]);
        assert_eq!(taken(&["[::1]:1".parse().unwrap()], port), [], "the other family");
        drop(greedy);
        assert_eq!(taken(&bound, port), []);
        let sharing = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        share(&sharing).unwrap();
        sharing.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
        assert_eq!(taken(&bound, port), []);
    }
}
