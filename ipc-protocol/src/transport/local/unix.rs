//! Options of local sockets on Unix.

use interprocess::local_socket::ListenerOptions;

/// None: the socket's folder decides who may connect.
pub(super) fn for_owner(options: ListenerOptions<'_>) -> std::io::Result<ListenerOptions<'_>> {
    Ok(options)
}
