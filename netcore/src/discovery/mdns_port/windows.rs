//! Sharing on Windows: one option.

use std::io;

use socket2::Socket;

/// Lets other sockets bind to the port of `socket`, too.
pub(super) fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}
