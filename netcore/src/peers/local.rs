//! The addresses of this node, as far as this machine can tell: those that a ticket lists and that peers are told.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use polypeer_engine::address::Zone;
use polypeer_ipc_protocol::limits::MAX_TICKET_ADDRESSES;

/// The addresses at which `bound` sockets can be reached, best first: a wildcard stands for those of all interfaces.
pub(super) fn addresses(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces: Vec<IpAddr> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot list this machine's addresses; tickets will lack them");
            Vec::new()
        }
    };
    spread(bound, &interfaces)
}

/// Those of `addresses` that a peer at `peer`, which sees this node at `own`, is told; of public ones only those that
/// are `known`.
pub(super) fn told(
    mut addresses: Vec<SocketAddr>,
    peer: IpAddr,
    own: Option<IpAddr>,
    known: impl Fn(&SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let peer = Zone::of(peer);
    let here = own.map_or(peer, Zone::of);
    addresses.retain(|address| {
        let zone = Zone::of(address.ip());
        zone.is_told_to(peer) && zone.is_told_to(here) && (zone != Zone::Public || known(address))
    });
    addresses
}

fn spread(bound: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for socket in bound {
        if socket.ip().is_unspecified() {
            let same_family = interfaces.iter().filter(|ip| ip.is_ipv4() == socket.is_ipv4());
            all.extend(same_family.map(|ip| SocketAddr::new(*ip, socket.port())));
        } else {
            all.push(*socket);
        }
    }
    // Another machine cannot use a link-local address without knowing its own interface.
    all.retain(|address| !is_link_local(address.ip()));
    // Loopback addresses are listed only if there are no others.
    if all.iter().any(|address| !address.ip().is_loopback()) {
        all.retain(|address| !address.ip().is_loopback());
    }
    all.sort_by_key(|address| (rank(address.ip()), *address));
    all.dedup();
    all.truncate(MAX_TICKET_ADDRESSES);
    all
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The sort key: public addresses first, then private IPv4, then private IPv6.
fn rank(ip: IpAddr) -> u8 {
    let private = match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6 == Ipv6Addr::LOCALHOST,
    };
    match (private, ip.is_ipv4()) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("address")).collect()
    }

    #[test]
    fn wildcard_stands_for_all_interfaces_but_loopback_and_link_local() {
        let texts = ["127.0.0.1", "10.0.0.5", "203.0.113.9", "169.254.1.1", "::1", "fe80::1", "2001:db8::5"];
        let interfaces = texts.map(|text| text.parse().expect("IP"));
        let found = spread(&list(&["0.0.0.0:7470", "[::]:7471"]), &interfaces);
        assert_eq!(found, list(&["203.0.113.9:7470", "[2001:db8::5]:7471", "10.0.0.5:7470"]));
    }

    #[test]
    fn strangers_learn_of_no_private_network_and_of_no_other_line() {
        let home = ["203.0.114.1:7470", "198.51.100.1:7470", "192.168.1.2:7470", "10.8.0.3:7470", "[fd00::5]:7470"];
        let ip = |text: &str| text.parse::<IpAddr>().expect("IP");
        let to = |peer: &str, own: &str| {
            told(list(&home), ip(peer), Some(ip(own)), |address| address.ip() == ip("203.0.114.1"))
        };
        assert_eq!(to("192.0.2.9", "203.0.114.1"), list(&["203.0.114.1:7470"]));
        assert_eq!(to("192.0.2.9", "192.168.1.2"), list(&["203.0.114.1:7470"]), "behind a router too");
        assert_eq!(to("::", "203.0.114.1"), list(&["203.0.114.1:7470"]), "through others");
        let neighbour = to("192.168.1.7", "192.168.1.2");
        let all = ["203.0.114.1:7470", "192.168.1.2:7470", "10.8.0.3:7470", "[fd00::5]:7470"];
        assert_eq!(neighbour, list(&all));
        assert_eq!(to("127.0.0.1", "127.0.0.1"), []);
        assert_eq!(told(list(&["127.0.0.1:1"]), ip("127.0.0.1"), None, |_| false), list(&["127.0.0.1:1"]));
    }

    #[test]
    fn node_on_loopback_alone_says_so() {
        let found = spread(&list(&["127.0.0.1:7470"]), &["10.0.0.5".parse().expect("IP")]);
        assert_eq!(found, list(&["127.0.0.1:7470"]));
    }

    #[test]
    fn ticket_never_gets_more_addresses_than_it_holds() {
        let interfaces: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        assert_eq!(spread(&list(&["0.0.0.0:1"]), &interfaces).len(), MAX_TICKET_ADDRESSES);
    }
}
