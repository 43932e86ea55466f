//! Forms of a socket address: IPv4 mapped into IPv6, and synthetic addresses, which stand for paths of this node.

use std::net::{SocketAddr, SocketAddrV6};

/// The private prefix (a /48, RFC 4193) of synthetic addresses; its global id spells "polyp".
pub const SYNTHETIC: [u16; 3] = [0xfd70, 0x6f6c, 0x7970];

/// Whether `address` is synthetic: it stands for a path of this node and means nothing to another node.
pub fn is_synthetic(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().segments()[..3] == SYNTHETIC)
}

/// Turns an IPv4 address mapped into IPv6 (RFC 4291, section 2.5.5.2) into plain IPv4; returns others unchanged.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port()).with_scope(address)
}

trait WithScope {
    fn with_scope(self, from: SocketAddr) -> Self;
}

impl WithScope for SocketAddr {
    fn with_scope(self, from: SocketAddr) -> Self {
        match (self, from) {
            (Self::V6(to), Self::V6(from)) => {
                Self::V6(SocketAddrV6::new(*to.ip(), to.port(), from.flowinfo(), from.scope_id()))
            }
            (other, _) => other,
        }
    }
}
