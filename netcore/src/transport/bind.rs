//! Binding of the UDP sockets: to exactly the operator's addresses, or to the default port or the next free one.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Ports tried after the default one.
const MORE_PORTS: u16 = 32;
/// Most addresses that a node listens on; each costs a socket that is polled for packets.
const MAX_LISTEN: usize = 8;
/// Kernel buffers per socket, bytes: what arrives at 1 Gbit/s in 32 ms, in case the thread has to wait that long. The
/// system may grant less.
const BUFFER: usize = 4 << 20;

/// Why the sockets could not be bound. Every text ends in a remedy.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket is bound to the port.
    #[error("listen on {address}: the port is in use; stop what uses it, or choose another with --listen")]
    Busy {
        /// The address asked for.
        address: SocketAddr,
    },
    /// All ports of the range are in use.
    #[error("listen on a port from {first} to {last}: all are in use; choose one with --listen")]
    AllBusy {
        /// The first tried.
        first: u16,
        /// The last tried.
        last: u16,
    },
    /// The system refused for another reason.
    #[error("listen on {address}: {reason}; check --listen and this machine's addresses")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error. It is in the text, so it is no `source`, which would print it again.
        reason: io::Error,
    },
    /// No address, or more than `MAX_LISTEN`.
    #[error("listen on {count} addresses: between 1 and {MAX_LISTEN} are possible; change --listen")]
    Count {
        /// Number of addresses asked for.
        count: usize,
    },
    /// The endpoint or its socket could not be set up.
    #[error("start the QUIC endpoint: {0}; check the limit on open files")]
    Endpoint(io::Error),
}

/// The bound sockets, and warnings about those that could not be bound.
pub(super) struct Bound {
    pub(super) sockets: Vec<UdpSocket>,
    pub(super) warnings: Vec<String>,
}

/// Whether the operator chose the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The operator chose them: a busy port is an error.
    Explicit,
    /// They are the default: the next free port is used instead of a busy one, and one address family is enough.
    Default,
}

pub(super) fn bind(addresses: &[SocketAddr], choice: Choice) -> Result<Bound, BindError> {
    if addresses.is_empty() || addresses.len() > MAX_LISTEN {
        return Err(BindError::Count { count: addresses.len() });
    }
    match choice {
        Choice::Explicit => {
            let sockets = addresses.iter().map(|address| bind_exactly(*address)).collect::<Result<_, _>>()?;
            Ok(Bound { sockets, warnings: Vec::new() })
        }
        Choice::Default => bind_near(addresses),
    }
}

/// Binds all addresses at the same distance from the default port, so that the node has one port number.
fn bind_near(addresses: &[SocketAddr]) -> Result<Bound, BindError> {
    let first = addresses[0].port();
    let last = first.saturating_add(MORE_PORTS);
    'ports: for offset in 0..=last - first {
        let mut bound = Bound { sockets: Vec::new(), warnings: Vec::new() };
        let mut refused = None;
        for &address in addresses {
            let address = SocketAddr::new(address.ip(), address.port().saturating_add(offset));
            match bind_exactly(address) {
                Ok(socket) => bound.sockets.push(socket),
                Err(BindError::Busy { .. }) => continue 'ports,
                Err(error) => {
                    bound.warnings.push(format!("failed to {error}"));
                    refused = Some(error);
                }
            }
        }
        if bound.sockets.is_empty() {
            return Err(refused.expect("each address was bound or refused"));
        }
        if offset > 0 {
            bound.warnings.push(format!(
                "port {first} is in use, so this node listens on port {}: tickets that name {first} lead elsewhere; give \
                 out new ones, or free that port and restart the daemon",
                first + offset
            ));
        }
        return Ok(bound);
    }
    Err(BindError::AllBusy { first, last })
}

fn bind_exactly(address: SocketAddr) -> Result<UdpSocket, BindError> {
    open(address).map_err(|reason| match reason.kind() {
        io::ErrorKind::AddrInUse => BindError::Busy { address },
        _ => BindError::Io { address, reason },
    })
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A smaller buffer works too.
    socket.set_recv_buffer_size(BUFFER).ok();
    socket.set_send_buffer_size(BUFFER).ok();
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().expect("address")
    }

    fn port(bound: &Bound) -> u16 {
        bound.sockets[0].local_addr().expect("bound").port()
    }

    #[test]
    fn busy_port_is_an_error_when_it_was_chosen() {
        let taken = bind(&[any()], Choice::Explicit).unwrap_or_else(|e| panic!("{e}"));
        let address = SocketAddr::new(any().ip(), port(&taken));
        let Err(error @ BindError::Busy { .. }) = bind(&[address], Choice::Explicit) else { panic!("it was busy") };
        assert!(error.to_string().contains("--listen"), "{error}");
    }

    #[test]
    fn busy_default_port_gives_a_later_one_and_a_warning() {
        let taken = bind(&[any()], Choice::Explicit).unwrap_or_else(|e| panic!("{e}"));
        let address = SocketAddr::new(any().ip(), port(&taken));
        let bound = bind(&[address], Choice::Default).unwrap_or_else(|e| panic!("{e}"));
        assert!(port(&bound) > address.port() && port(&bound) <= address.port() + MORE_PORTS);
        assert!(bound.warnings[0].contains("in use"), "{:?}", bound.warnings);
    }

    #[test]
    fn address_of_another_machine_is_refused() {
        let elsewhere = "192.0.2.1:0".parse().expect("address");
        let Err(error @ BindError::Io { .. }) = bind(&[elsewhere], Choice::Explicit) else { panic!("it was bound") };
        let said = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(said.matches("os error").count(), 1, "{said}");
        let bound = bind(&[any(), elsewhere], Choice::Default).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((bound.sockets.len(), bound.warnings.len()), (1, 1));
        assert!(matches!(bind(&[], Choice::Explicit), Err(BindError::Count { count: 0 })));
        assert!(matches!(bind(&[any(); 9], Choice::Explicit), Err(BindError::Count { count: 9 })));
    }
}
