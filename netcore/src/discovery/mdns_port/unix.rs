//! Sharing on Unix: all sockets with both options share a port.

use std::io;

use socket2::Socket;

/// Lets other sockets bind to the port of `socket`, too.
pub(super) fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)
}
